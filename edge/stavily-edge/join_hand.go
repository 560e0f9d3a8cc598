package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/stavily/stavily/edge/disk"
	"github.com/stavily/stavily/protocol"
)

// askByHand writes what the device would say to the hub into a file, for a place without a
// line: "stavily agent join" at the hub makes the reply of it.
func askByHand(o *options, id *disk.Identity, out io.Writer) error {
	j, err := newJoining(o, id)
	if err != nil {
		return err
	}
	req := j.request()
	if err := signed(&req, j.key); err != nil {
		return err
	}
	err = writeWhole(o.request, func(to io.Writer) error { return protocol.WriteFrame(to, req) })
	if err != nil {
		return fmt.Errorf("join: %w", err)
	}
	_, err = fmt.Fprintf(out, "asked in %s\nat the hub: stavily agent join %[2]s REPLY\nthen here, with the "+
		"same flags: stavily-edge join --reply REPLY\n", o.request, filepath.Base(o.request))
	return err
}

// carried reads the hub's reply from the file in which it was carried here.
func (j *joining) carried() (reply protocol.JoinReply, err error) {
	file, err := os.Open(j.o.reply)
	if err != nil {
		return reply, err
	}
	defer file.Close()
	if err := protocol.ReadFrame(file, protocol.JoinReplyMax, &reply); err != nil {
		return reply, &failure{
			fmt.Errorf("join: %s: %w", j.o.reply, err), "copy it again: the medium or the copy is bad, or it is " +
				"no reply of \"stavily agent join\"", exitRefused,
		}
	}
	return reply, checkReply(&reply, j.key)
}
