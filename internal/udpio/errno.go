package udpio

import (
	"slices"
	"syscall"
)

// generalTransient knows the numbers that package syscall has on all systems.
func generalTransient(errno syscall.Errno) bool {
	return slices.Contains([]syscall.Errno{
		syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.ENOBUFS, syscall.EMSGSIZE, syscall.EHOSTUNREACH,
		syscall.ENETUNREACH, syscall.ENETDOWN, syscall.EINTR,
	}, errno)
}
