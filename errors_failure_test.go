package carrier

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"

	"github.com/gocarrier/carrier/internal/store"
)

// A node that stopped by itself says why, once, and matches the sentinels by
// which programs tell the reasons apart.
func TestFailure(t *testing.T) {
	full := fmt.Errorf("commit: %w", fmt.Errorf("%w: %w", store.ErrFailed, syscall.ENOSPC))
	damaged := fmt.Errorf("read friend row: %w", store.ErrDamaged)
	for _, test := range []struct {
		name  string
		cause error
		is    []error
		not   []error
		want  string
	}{
		{"Close", nil, []error{net.ErrClosed}, []error{ErrFailed, ErrDamaged}, "carrier: send to: node is closed: use of closed network connection; start a new one"},
		{"disk full", full, []error{ErrFailed, net.ErrClosed, syscall.ENOSPC}, []error{ErrDamaged}, "carrier: send to: state directory has failed: commit: store has failed: no space left on device; make room or mend the disk, then start the node again"},
		{"damage", damaged, []error{ErrFailed, net.ErrClosed, ErrDamaged}, []error{ErrNewer, syscall.ENOSPC}, "carrier: send to: state directory has failed: read friend row: damaged on disk; make room or mend the disk, then start the node again"},
	} {
		err := closedError("send to", test.cause)
		if err.Error() != test.want {
			t.Errorf("%s:\n got %s\nwant %s", test.name, err, test.want)
		}
		for _, target := range test.is {
			if !errors.Is(err, target) {
				t.Errorf("%s: %v does not match %v", test.name, err, target)
			}
		}
		for _, target := range test.not {
			if errors.Is(err, target) {
				t.Errorf("%s: %v matches %v", test.name, err, target)
			}
		}
	}
	for _, test := range []struct {
		cause error
		want  error
	}{
		{fmt.Errorf("open store: %w", store.ErrDamaged), ErrDamaged},
		{fmt.Errorf("open store: %w", store.ErrNewer), ErrNewer},
		{fmt.Errorf("open store: %w", store.ErrInUse), ErrDirInUse},
		{fmt.Errorf("open store: %w", store.ErrWrongKey), ErrWrongKey},
		{fmt.Errorf("open store: %w", store.ErrPassphrase), ErrWrongPassphrase},
		{full, ErrFailed},
	} {
		err := storeError("start", "the directory", test.cause)
		if !errors.Is(err, test.want) || !errors.Is(err, test.cause) || !strings.Contains(err.Error(), "start the directory: ") {
			t.Errorf("storeError(%v) = %v, want %v", test.cause, err, test.want)
		}
	}
}
