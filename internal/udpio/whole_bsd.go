//go:build darwin || freebsd

package udpio

import "golang.org/x/sys/unix"

const (
	fragmentOption4 = unix.IP_DONTFRAG
	fragmentOption6 = unix.IPV6_DONTFRAG
	neverFragment   = 1
)
