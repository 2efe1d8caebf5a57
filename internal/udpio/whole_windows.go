package udpio

import "golang.org/x/sys/windows"

// IP_DONTFRAGMENT and IPV6_DONTFRAG of ws2ipdef.h, which are one number.
const (
	fragmentOption = 14
	neverFragment  = 1
)

// swapFragmenting sets whether datagrams of a socket, of IPv6 or IPv4, may be fragmented, and returns what was set.
func swapFragmenting(fd uintptr, six bool, value int) (before int, err error) {
	level := windows.IPPROTO_IP
	if six {
		level = windows.IPPROTO_IPV6
	}
	if before, err = windows.GetsockoptInt(windows.Handle(fd), level, fragmentOption); err != nil {
		return 0, err
	}
	return before, windows.SetsockoptInt(windows.Handle(fd), level, fragmentOption, value)
}
