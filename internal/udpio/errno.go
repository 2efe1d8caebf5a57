package udpio

import "syscall"

// generalTransient knows the numbers that package syscall has on all systems.
func generalTransient(errno syscall.Errno) bool {
	switch errno {
	case syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.ENOBUFS, syscall.EMSGSIZE, syscall.EHOSTUNREACH,
		syscall.ENETUNREACH, syscall.ENETDOWN, syscall.EINTR:
		return true
	}
	return false
}
