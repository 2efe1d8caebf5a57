package storetest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	smallDiskVar  = "CARRIER_SMALL_DISK" // set in a child: the test it is to run
	smallDiskDone = "the small disk was used and given back"
)

// SmallDisk runs f with a directory that is a file system of its own, a tmpfs of
// size bytes. The test calls it once, at its top level, and does all else
// inside f.
//
// Since only a process with rights of its own may mount, f runs in a child, the
// same test of the same program in new user and mount namespaces, which the
// kernel lets anybody make unless it was forbidden: then the test fails.
func SmallDisk(t *testing.T, size int, f func(t *testing.T, dir string)) {
	t.Helper()
	if os.Getenv(smallDiskVar) != t.Name() {
		onSmallDisk(t)
		return
	}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d,mode=0700", size)); err != nil {
		t.Fatalf("mount a tmpfs: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmount the tmpfs: %v", err)
		}
		if !t.Failed() {
			fmt.Println(smallDiskDone)
		}
	})
	f(t, dir)
}

// onSmallDisk runs the child.
func onSmallDisk(t *testing.T) {
	t.Helper()
	args := []string{"-test.run=^" + t.Name() + "$", "-test.count=1"}
	if deadline, ok := t.Deadline(); ok {
		args = append(args, "-test.timeout="+time.Until(deadline).String())
	}
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), smallDiskVar+"="+t.Name())
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	switch {
	case err != nil && !errors.As(err, &exit):
		t.Fatalf("no process in namespaces of its own could be started (%v): allow user namespaces, as by sysctl kernel.apparmor_restrict_unprivileged_userns=0, or run as root", err)
	case err != nil:
		t.Fatalf("on the small disk: %v\n%s", err, out)
	case !strings.Contains(string(out), smallDiskDone):
		t.Fatalf("nothing was done on the small disk:\n%s", out)
	}
}

// Fill leaves no room on the file system of a directory. It returns the file
// that took it: removing it makes room again.
func Fill(t *testing.T, dir string) (filler string) {
	t.Helper()
	filler = filepath.Join(dir, "filler")
	f, err := os.OpenFile(filler, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for size := 1 << 20; size > 0; {
		if _, err := f.Write(make([]byte, size)); errors.Is(err, syscall.ENOSPC) {
			size /= 2
		} else if err != nil {
			t.Fatal(err)
		}
	}
	return filler
}
