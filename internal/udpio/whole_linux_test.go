package udpio

import (
	"errors"
	"net"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestWholeIsWhole: the option is set while such a datagram is sent, and is as before afterwards, also when the datagram
// was refused.
func TestWholeIsWhole(t *testing.T) {
	for _, family := range []struct {
		network, address string
		level, option    int
	}{
		{"udp4", "127.0.0.1:0", unix.IPPROTO_IP, unix.IP_MTU_DISCOVER},
		{"udp6", "[::1]:0", unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER},
	} {
		s := openAt(t, OS{}, family.network, family.address)
		raw, err := s.conn.(*net.UDPConn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		option := func() (value int) {
			var failed error
			err := raw.Control(func(fd uintptr) { value, failed = unix.GetsockoptInt(int(fd), family.level, family.option) })
			if err := errors.Join(err, failed); err != nil {
				t.Error(err)
			}
			return value
		}
		before := option()
		if before == neverFragment {
			t.Fatalf("%s: no datagram may be cut from the start", family.network)
		}
		if err := s.WriteWhole(numbered(1<<16, 1<<16), s.LocalAddr()); !errors.Is(err, syscall.EMSGSIZE) {
			t.Errorf("%s: a datagram that nothing carries: %v, want EMSGSIZE", family.network, err)
		}
		if after := option(); after != before {
			t.Errorf("%s: the option is %d after a refusal, was %d", family.network, after, before)
		}
		stop, done := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(done)
			for {
				select {
				case <-stop:
					return
				default:
					if err := s.WriteWhole(numbered(9, 9), s.LocalAddr()); err != nil {
						t.Error(err)
					}
				}
			}
		}()
		seen := false
		for range 1_000_000 {
			if seen = option() == neverFragment; seen {
				break
			}
		}
		close(stop)
		<-done
		if !seen {
			t.Errorf("%s: the option is never set", family.network)
		}
		if after := option(); after != before {
			t.Errorf("%s: the option is %d afterwards, was %d", family.network, after, before)
		}
	}
}
