//go:build linux && (amd64 || arm64 || riscv64)

package native

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// devices are the devices of a jail.
var devices = []string{"/dev/null", "/dev/zero", "/dev/random", "/dev/urandom"}

// enter makes a root of its own out of what is ordered and goes into it. Nothing of the
// machine's tree is left.
func (o *order) enter(s *status) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("private mounts: %w", err)
	}
	const closed = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	err := unix.Mount("tmpfs", o.Root, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755,size=64k,nr_inodes=256")
	if err != nil {
		return fmt.Errorf("root: %w", err)
	}
	if err := o.furnish(); err != nil {
		return err
	}
	tmp := filepath.Join(o.Root, tmpDir)
	if err := os.Mkdir(tmp, 0o755); err != nil {
		return err
	}
	size := fmt.Sprintf("mode=1777,size=%d,nr_inodes=1024", o.TmpBytes)
	if err := unix.Mount("tmpfs", tmp, "tmpfs", closed, size); err != nil {
		return fmt.Errorf("tmp: %w", err)
	}
	if o.Proc {
		if err := o.showFigures(s, closed|unix.MS_RDONLY); err != nil {
			return err
		}
	}
	return o.pivot(closed)
}

// sensors are where the kernel shows temperatures and the like.
var sensors = []string{"/sys/class/hwmon", "/sys/class/thermal", "/sys/devices"}

// showFigures lets the machine's figures be read: a /proc of the jail's own processes,
// and sensors. What a system does not let be shown is noted.
func (o *order) showFigures(s *status, flags uintptr) error {
	proc := filepath.Join(o.Root, "proc")
	if err := os.Mkdir(proc, 0o755); err != nil {
		return err
	}
	err := unix.Mount("proc", proc, "proc", flags, "")
	if s.Proc = err == nil; err != nil {
		s.Notes = append(s.Notes, "proc: "+err.Error())
	}
	for _, dir := range sensors {
		err := o.bring(dir, dir, unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			s.Notes = append(s.Notes, err.Error())
		}
	}
	return nil
}

// furnish puts the plugin's folder, the devices and what is bound into the new root.
func (o *order) furnish() error {
	for _, d := range devices {
		if err := o.bring(d, d, 0); err != nil {
			return err
		}
	}
	if o.Program != "" {
		if err := o.bring(o.Program, pluginDir, unix.MOUNT_ATTR_NODEV); err != nil {
			return err
		}
	}
	for _, b := range o.Binds {
		at := filepath.Join(o.Root, b.Path)
		if b.Link == "" {
			if err := o.bring(b.Path, b.Path, unix.MOUNT_ATTR_NODEV); err != nil {
				return err
			}
			continue
		}
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			return err
		}
		if err := os.Symlink(b.Link, at); err != nil {
			return err
		}
	}
	return nil
}

// bring makes a file or folder of the machine appear in the new root, read-only but for
// devices.
func (o *order) bring(from, to string, attr uint64) error {
	at := filepath.Join(o.Root, to)
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
		return err
	}
	if info.IsDir() {
		err = os.MkdirAll(at, 0o755)
	} else {
		err = os.WriteFile(at, nil, 0o644)
	}
	if err != nil {
		return err
	}
	if err := unix.Mount(from, at, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("bind %s: %w", from, err)
	}
	if attr != 0 {
		attr |= unix.MOUNT_ATTR_RDONLY
	}
	return protect(at, attr|unix.MOUNT_ATTR_NOSUID)
}

// protect adds attributes to a mount and all below it. On kernels before 5.12 only to the
// mount itself.
func protect(at string, attr uint64) error {
	err := unix.MountSetattr(unix.AT_FDCWD, at, unix.AT_RECURSIVE, &unix.MountAttr{Attr_set: attr})
	if err == nil || !errors.Is(err, unix.ENOSYS) {
		return wrap("protect "+at, err)
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(at, &fs); err != nil {
		return wrap("protect "+at, err)
	}
	// What a mount has already must be said again: it may not be taken away.
	const kept = unix.ST_NODEV | unix.ST_NOSUID | unix.ST_NOEXEC | unix.ST_NOATIME | unix.ST_NODIRATIME |
		unix.ST_RELATIME | unix.ST_RDONLY
	flags := uintptr(fs.Flags) & kept
	if attr&unix.MOUNT_ATTR_RDONLY != 0 {
		flags |= unix.MS_RDONLY
	}
	if attr&unix.MOUNT_ATTR_NODEV != 0 {
		flags |= unix.MS_NODEV
	}
	if flags&unix.ST_RELATIME != 0 {
		flags = flags&^unix.ST_RELATIME | unix.MS_RELATIME
	}
	return wrap("protect "+at, unix.Mount("", at, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_NOSUID|flags, ""))
}

func wrap(op string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", op, err)
}

// pivot makes the new root the root, lets go of the machine's and closes it for writing.
func (o *order) pivot(flags uintptr) error {
	if err := unix.Chdir(o.Root); err != nil {
		return wrap("root", err)
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return wrap("pivot_root", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return wrap("old root", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY|flags, ""); err != nil {
		return wrap("read-only root", err)
	}
	return wrap("folder", unix.Chdir(tmpDir))
}
