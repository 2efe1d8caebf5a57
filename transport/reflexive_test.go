package transport

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/stun/v4"

	"github.com/gocarrier/carrier/internal/lab"
)

// muxSTUNServer answers at addr by answer until the test ends; nil is no answer.
func muxSTUNServer(t *testing.T, n *lab.Network, addr netip.AddrPort, answer func(request *stun.Message, from netip.AddrPort) []stun.Setter) {
	t.Helper()
	pc, err := n.Host(addr.Addr()).ListenPacket(t.Context(), "udp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	conn := pc.(*lab.Conn)
	t.Cleanup(func() { conn.Close() })
	go func() {
		b := make([]byte, 1500)
		for {
			k, from, err := conn.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			request := new(stun.Message)
			if err := stun.Decode(b[:k], request); err != nil {
				t.Errorf("the server got %x: %v", b[:k], err)
				continue
			}
			if setters := answer(request, from); setters != nil {
				conn.WriteToUDPAddrPort(buildSTUN(t, setters...), from)
			}
		}
	}()
}

func TestReflexive(t *testing.T) {
	server := netip.MustParseAddrPort("192.0.2.1:3478")
	server6 := netip.MustParseAddrPort("[2001:db8::5]:3478")
	mapped := func(m *stun.Message, addr netip.AddrPort) []stun.Setter {
		return []stun.Setter{m, stun.BindingSuccess, &stun.XORMappedAddress{IP: addr.Addr().AsSlice(), Port: int(addr.Port())}}
	}
	run := func(name string, test func(t *testing.T, n *lab.Network, h *muxHost)) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := lab.New(lab.Options{Default: lab.Link{Delay: 50 * time.Millisecond}})
				defer n.Close()
				h := newMuxHost(t, n, "10.0.0.1", "2001:db8::1")
				test(t, n, h)
				h.Close()
				h.wantEmpty(t)
			})
		})
	}

	run("both families", func(t *testing.T, n *lab.Network, h *muxHost) {
		for _, s := range []netip.AddrPort{server, server6} {
			muxSTUNServer(t, n, s, mapped)
			got, err := h.reflexive(t.Context(), s)
			want := h.socket(s.Addr()).addr
			if got != want || err != nil {
				t.Errorf("reflexive = %v, %v, want %v", got, err, want)
			}
		}
	})
	run("repeated, with the same transaction", func(t *testing.T, n *lab.Network, h *muxHost) {
		var at []time.Duration
		start, first := time.Now(), [12]byte{}
		muxSTUNServer(t, n, server, func(m *stun.Message, from netip.AddrPort) []stun.Setter {
			if at = append(at, time.Since(start)); len(at) == 1 {
				first = m.TransactionID
			}
			if m.TransactionID != first {
				t.Error("a request sent again has another transaction ID")
			}
			if len(at) < stunTries {
				return nil
			}
			return mapped(m, from)
		})
		if _, err := h.reflexive(t.Context(), server); err != nil {
			t.Error(err)
		}
		for i, want := range []time.Duration{0, 500, 1500, 3500, 7500, 15500, 31500} {
			if want = want*time.Millisecond + 50*time.Millisecond; len(at) <= i || at[i] != want {
				t.Fatalf("requests arrived after %v, want number %d after %v", at, i, want)
			}
		}
	})
	run("no answer", func(t *testing.T, _ *lab.Network, h *muxHost) {
		start := time.Now()
		_, err := h.reflexive(t.Context(), server)
		if !errors.Is(err, errNoSTUNAnswer) || time.Since(start) != 39500*time.Millisecond {
			t.Errorf("got %v after %v, want errNoSTUNAnswer after 39.5 s", err, time.Since(start))
		}
	})
	run("ctx", func(t *testing.T, _ *lab.Network, h *muxHost) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := h.reflexive(ctx, server); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want ctx's error", err)
		}
	})
	run("close", func(t *testing.T, _ *lab.Network, h *muxHost) {
		go func() {
			time.Sleep(time.Second)
			h.mux.Close()
		}()
		start := time.Now()
		for range 2 {
			if _, err := h.reflexive(t.Context(), server); !errors.Is(err, net.ErrClosed) || time.Since(start) != time.Second {
				t.Errorf("got %v after %v, want net.ErrClosed after 1 s", err, time.Since(start))
			}
		}
	})
	for name, c := range map[string]struct {
		answer []stun.Setter
		want   string
	}{
		"refused":        {[]stun.Setter{stun.BindingError, stun.CodeTryAlternate}, "code 300"},
		"no address":     {[]stun.Setter{stun.BindingSuccess}, "no usable address"},
		"another family": {[]stun.Setter{stun.BindingSuccess, &stun.XORMappedAddress{IP: net.IPv6loopback, Port: 9}}, "no usable address"},
	} {
		run(name, func(t *testing.T, n *lab.Network, h *muxHost) {
			muxSTUNServer(t, n, server, func(m *stun.Message, _ netip.AddrPort) []stun.Setter {
				return append([]stun.Setter{m}, c.answer...)
			})
			if got, err := h.reflexive(t.Context(), server); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, %v, want an error that says %s", got, err, c.want)
			}
		})
	}
	run("an answer from elsewhere", func(t *testing.T, n *lab.Network, h *muxHost) {
		liar := netip.MustParseAddrPort("192.0.2.2:3478")
		muxSTUNServer(t, n, server, func(m *stun.Message, from netip.AddrPort) []stun.Setter {
			forged := buildSTUN(t, mapped(m, netip.MustParseAddrPort("6.6.6.6:6"))...)
			h.handleSTUN(forged, liar)
			return mapped(m, from)
		})
		if got, err := h.reflexive(t.Context(), server); got != h.socket(server.Addr()).addr || err != nil {
			t.Errorf("got %v, %v, want the server's answer", got, err)
		}
		if got := h.counters()["mux.dropped.answer_elsewhere"]; got != 1 {
			t.Errorf("%d answers from elsewhere, want 1", got)
		}
	})
	run("nowhere to send", func(t *testing.T, n *lab.Network, h *muxHost) {
		n.Host(netip.MustParseAddr("10.0.0.1")).Down()
		for _, s := range []netip.AddrPort{{}, netip.MustParseAddrPort("0.0.0.0:3478"), server} {
			if _, err := h.reflexive(t.Context(), s); err == nil {
				t.Errorf("asked %v without error", s)
			}
		}
	})
}
