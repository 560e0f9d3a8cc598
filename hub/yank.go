package hub

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stavily/stavily/hub/api"
	"github.com/stavily/stavily/hub/deploy"
	"github.com/stavily/stavily/hub/fleet"
	"github.com/stavily/stavily/hub/registry"
	"github.com/stavily/stavily/hub/store"
	"github.com/stavily/stavily/protocol"
)

// reasonMax bounds the reason of a withdrawal in bytes.
const reasonMax = 500

// Withdraw yanks or revokes a published release, or restores it, and says whom that hits. A
// yanked release is chosen by no new deployment and stays where it runs. A revoked one is
// stopped by every agent; workflows that update by themselves move to the newest that is left.
func (h *Hub) Withdraw(now time.Time, plugin protocol.PluginName, in api.Withdraw,
) (out *api.Withdrawn, err error) {
	out = &api.Withdrawn{Plugin: plugin, Version: in.Version}
	if out.State, err = checkWithdraw(&in); err != nil {
		return nil, err
	}
	err = h.Operate(func(tx *store.Tx) error { return h.withdraw(tx, now, &in, out) })
	for i := 0; err == nil && out.State == registry.Revoked && i < len(out.Hits); i++ {
		err = h.moveByItself(now, &out.Hits[i])
	}
	if err != nil {
		return nil, fmt.Errorf("%s %s@%s: %w", in.Do, plugin, in.Version, err)
	}
	return out, nil
}

func checkWithdraw(in *api.Withdraw) (registry.State, error) {
	in.Reason = strings.TrimSpace(in.Reason)
	switch {
	case in.Do != api.Restore && in.Reason == "":
		return "", protocol.Errorf(protocol.CodeBadInput, "%s: no reason: say why, for those who come later", in.Do)
	case len(in.Reason) > reasonMax:
		return "", protocol.Errorf(protocol.CodeLimit, "%s: reason of %d bytes, limit %d", in.Do, len(in.Reason),
			reasonMax)
	}
	switch in.Do {
	case api.Yank:
		return registry.Yanked, nil
	case api.Revoke:
		return registry.Revoked, nil
	case api.Restore:
		return registry.Published, nil
	default:
		return "", protocol.Errorf(protocol.CodeBadInput, "%q: want %s, %s or %s", in.Do, api.Yank, api.Revoke,
			api.Restore)
	}
}

func (h *Hub) withdraw(tx *store.Tx, now time.Time, in *api.Withdraw, out *api.Withdrawn) error {
	plugin, state := out.Plugin, out.State
	before, err := registry.GetRelease(tx, plugin, in.Version)
	if err == nil {
		err = registry.SetState(tx, plugin, in.Version, state)
	}
	if err != nil {
		return err
	}
	err = notice(tx, api.Notice{
		At: now, Kind: string(in.Do), Subject: string(plugin) + "@" + in.Version, Text: in.Reason, By: in.By,
	})
	if err != nil {
		return err
	}
	out.Hits, err = h.using(tx, func(l *api.Locked) bool { return l.Release == before.Digest })
	if err != nil || state != registry.Revoked && before.State != registry.Revoked {
		return err
	}
	revoked, err := registry.Revocations(tx)
	if err == nil && len(revoked) > protocol.RevokedMax {
		err = protocol.Errorf(protocol.CodeLimit, "%d revoked releases, limit RevokedMax %d", len(revoked),
			protocol.RevokedMax)
	}
	if err == nil {
		_, err = h.replan(tx, now, "")
	}
	return err
}

// fleetPlanned returns all agents as a plan looks at them.
func fleetPlanned(tx *store.Tx) ([]deploy.Agent, error) {
	agents, err := fleet.List(tx)
	return planned(agents), err
}

// bookNotices holds an api.Notice for each thing that an operator should know of, by time.
const bookNotices = "notices"

// noticesMax bounds the notices that are kept: the oldest go.
const noticesMax = 1000

// notice keeps one, unless the hub found the same of the same subject last time.
func notice(tx *store.Tx, n api.Notice) error {
	all, err := readNotices(tx)
	if err != nil {
		return err
	}
	last := -1
	for i := range all {
		if all[i].Subject == n.Subject {
			last = i
		}
	}
	if last >= 0 && n.By == "" && all[last].Kind == n.Kind && all[last].Text == n.Text {
		return nil
	}
	all = append(all, n)
	return putJSON(tx, bookNotices, "all", all[max(0, len(all)-noticesMax):])
}

func readNotices(tx *store.Tx) (all []api.Notice, err error) {
	_, err = getJSON(tx, bookNotices, "all", &all)
	return all, err
}

// Notices returns the newest notices first, at most limit of them.
func (h *Hub) Notices(tx *store.Tx, limit int) ([]api.Notice, error) {
	all, err := readNotices(tx)
	slices.Reverse(all)
	return all[:min(len(all), max(0, limit))], err
}
