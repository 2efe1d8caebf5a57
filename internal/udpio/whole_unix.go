//go:build linux || darwin || freebsd

package udpio

import "golang.org/x/sys/unix"

// swapFragmenting sets whether datagrams of a socket, of IPv6 or IPv4, may be fragmented, and returns what was set.
func swapFragmenting(fd uintptr, six bool, value int) (before int, err error) {
	level, option := unix.IPPROTO_IP, fragmentOption4
	if six {
		level, option = unix.IPPROTO_IPV6, fragmentOption6
	}
	if before, err = unix.GetsockoptInt(int(fd), level, option); err != nil {
		return 0, err
	}
	return before, unix.SetsockoptInt(int(fd), level, option, value)
}
