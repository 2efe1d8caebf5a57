package udpio

import "golang.org/x/sys/unix"

const (
	fragmentOption4 = unix.IP_MTU_DISCOVER
	fragmentOption6 = unix.IPV6_MTU_DISCOVER
	// neverFragment sets the bit, and does not believe what ICMP, which anybody may have sent, said of the path.
	neverFragment = unix.IP_PMTUDISC_PROBE // of both families
)
