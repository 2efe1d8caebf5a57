//go:build !windows

package udpio

import (
	"errors"
	"syscall"
)

// portable is for Windows only.
func portable(err error) error { return err }

// transient says whether a read error tells of one datagram, or of a moment, and not of the socket: an ICMP answer to
// what we sent, or memory that is short.
func transient(err error) bool {
	var errno syscall.Errno
	return errors.As(err, &errno) && generalTransient(errno)
}
