package udpio

import (
	"errors"
	"fmt"
	"syscall"

	"golang.org/x/sys/windows"
)

// portable makes a Windows "address in use" match syscall.EADDRINUSE, as it does on other systems: Windows has a number
// of its own for it.
func portable(err error) error {
	if errors.Is(err, windows.WSAEADDRINUSE) {
		return fmt.Errorf("%w: %w", syscall.EADDRINUSE, err)
	}
	return err
}

// transient says whether a read error tells of one datagram, or of a moment, and not of the socket. Windows reports an
// ICMP "port unreachable" for what we sent as WSAECONNRESET, and a TTL that ran out as WSAENETRESET.
func transient(err error) bool {
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		return false
	}
	switch errno {
	case windows.WSAECONNRESET, windows.WSAENETRESET, windows.WSAECONNREFUSED, windows.WSAENOBUFS, windows.WSAEMSGSIZE,
		windows.WSAEHOSTUNREACH, windows.WSAENETUNREACH, windows.WSAENETDOWN, windows.WSAEINTR:
		return true
	}
	return generalTransient(errno)
}
