package udpio

import (
	"bytes"
	"errors"
	"net/netip"
	"runtime"
	"sync"
	"testing"

	"github.com/gocarrier/carrier/internal/lab"
)

// TestWriteWhole: what goes in one piece arrives, whatever else the socket sends meanwhile, and what no link carries in
// one piece is refused; other datagrams may be cut before and after.
func TestWriteWhole(t *testing.T) {
	for _, family := range []struct{ network, address string }{{"udp4", "127.0.0.1:0"}, {"udp6", "[::1]:0"}} {
		t.Run(family.network, func(t *testing.T) {
			a, b := openAt(t, OS{}, family.network, family.address), openAt(t, OS{}, family.network, family.address)
			got := collect(b, Data)
			err := a.WriteWhole(numbered(1452, 1452), b.LocalAddr())
			if errors.Is(err, errors.ErrUnsupported) {
				if runtime.GOOS == "linux" || runtime.GOOS == "darwin" || runtime.GOOS == "windows" {
					t.Fatal(err)
				}
				return // the links stay at the size that every path carries
			}
			if err != nil {
				t.Fatal(err)
			}
			if m := take(t, got); m.b != string(numbered(1452, 1452)) {
				t.Errorf("%d bytes came, want 1452", len(m.b))
			}
			var all sync.WaitGroup
			for range 4 {
				all.Go(func() {
					for range 20 {
						if err := a.WriteWhole(numbered(100, 100), b.LocalAddr()); err != nil {
							t.Error(err)
						}
						send(t, a, string(numbered(10, 10)), b.LocalAddr())
					}
				})
			}
			all.Wait()
			for range 160 {
				take(t, got)
			}
		})
	}
}

// TestWholeElsewhere: of a network that is not the system's nobody knows whether it cuts.
func TestWholeElsewhere(t *testing.T) {
	n := lab.New(lab.Options{})
	defer n.Close()
	s := openAt(t, n.Host(netip.MustParseAddr("10.0.0.1")), "udp4", "10.0.0.1:0")
	if err := s.WriteWhole(bytes.Repeat([]byte{0xC0}, 100), s.LocalAddr()); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("got %v, want an error that is ErrUnsupported", err)
	}
}
