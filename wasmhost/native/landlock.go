//go:build linux && (amd64 || arm64 || riscv64)

package native

import (
	"errors"
	"fmt"
	"io/fs"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The access rights of Landlock's file rules, in the order in which its versions brought
// them.
const (
	landlockRead = unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_READ_DIR
	landlockRun  = landlockRead | unix.LANDLOCK_ACCESS_FS_EXECUTE
	landlockV1   = 1<<13 - 1
	landlockFile = unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_WRITE_FILE
)

// landlockABI returns the version of Landlock that this kernel offers, 0 for none.
func landlockABI() int {
	v, _, errno := unix.RawSyscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return 0
	}
	return int(v)
}

// rights returns what a version of Landlock can hold back: of files, of the network, and
// signals and sockets to what is outside.
func rights(abi int) unix.LandlockRulesetAttr {
	attr := unix.LandlockRulesetAttr{Handled_access_fs: landlockV1}
	if abi >= 2 {
		attr.Handled_access_fs |= unix.LANDLOCK_ACCESS_FS_REFER
	}
	if abi >= 3 {
		attr.Handled_access_fs |= unix.LANDLOCK_ACCESS_FS_TRUNCATE
	}
	if abi >= 4 {
		attr.Handled_access_net = unix.LANDLOCK_ACCESS_NET_BIND_TCP | unix.LANDLOCK_ACCESS_NET_CONNECT_TCP
	}
	if abi >= 5 {
		attr.Handled_access_fs |= unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
	}
	if abi >= 6 {
		attr.Scoped = unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET | unix.LANDLOCK_SCOPE_SIGNAL
	}
	return attr
}

// landlock lets this thread have the plugin's own files only, and returns the version that
// is enforced, which is never more than the kernel said it has.
func (o *order) landlock() (int, error) {
	abi := min(landlockABI(), 7)
	if abi == 0 {
		return 0, errors.New("not in this kernel")
	}
	attr := rights(abi)
	// A kernel takes a shorter structure than its own: it was shorter in its version.
	size := []uintptr{8, 8, 8, 16, 16, 24, 24}[abi-1]
	fd, _, errno := unix.RawSyscall(unix.SYS_LANDLOCK_CREATE_RULESET,
		uintptr(unsafe.Pointer(&attr)), size, 0) //nolint:gosec // the kernel's own structure
	if errno != 0 {
		return 0, fmt.Errorf("ruleset: %w", errno)
	}
	defer unix.Close(int(fd))
	if err := o.landlockRules(int(fd), attr.Handled_access_fs); err != nil {
		return 0, err
	}
	if err := raw(unix.SYS_LANDLOCK_RESTRICT_SELF, fd, 0, 0); err != nil {
		return 0, fmt.Errorf("restrict: %w", err)
	}
	return abi, nil
}

// pathRule says what may be done with a file, or with all in a folder.
type pathRule struct {
	path   string
	access uint64
}

// landlockRules says what may be had of files.
func (o *order) landlockRules(ruleset int, all uint64) error {
	rules := []pathRule{{o.Program, landlockRun}}
	if o.Jail {
		rules = []pathRule{{pluginDir, landlockRun}, {tmpDir, all &^ unix.LANDLOCK_ACCESS_FS_EXECUTE}}
	}
	if o.Proc && o.Jail {
		rules = append(rules, pathRule{"/proc", landlockRead}, pathRule{"/sys", landlockRead})
	}
	for _, d := range devices {
		rules = append(rules, pathRule{d, landlockFile})
	}
	for _, b := range o.Binds {
		rules = append(rules, pathRule{b.Path, landlockRun})
	}
	for _, r := range rules {
		if r.path == "" {
			continue
		}
		err := landlockRule(ruleset, r.path, r.access&all)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s: %w", r.path, err)
		}
	}
	return nil
}

func landlockRule(ruleset int, path string, access uint64) error {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var info unix.Stat_t
	if err := unix.Fstat(fd, &info); err != nil {
		return err
	}
	if info.Mode&unix.S_IFMT != unix.S_IFDIR { // a file has no entries
		access &= landlockFile | unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_TRUNCATE
	}
	attr := unix.LandlockPathBeneathAttr{Allowed_access: access, Parent_fd: int32(fd)}
	_, _, errno := unix.RawSyscall6(unix.SYS_LANDLOCK_ADD_RULE,
		uintptr(ruleset), unix.LANDLOCK_RULE_PATH_BENEATH,
		uintptr(unsafe.Pointer(&attr)), //nolint:gosec // the kernel's own structure
		0, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}
