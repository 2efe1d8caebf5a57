package carrier_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/gocarrier/carrier"
	"github.com/gocarrier/carrier/carriertest"
	"github.com/gocarrier/carrier/internal/lab"
)

// cutHost is a host on which the way to single addresses can be cut: what is
// sent there is lost, and nobody is told.
type cutHost struct {
	*lab.Host
	mu  sync.Mutex
	cut map[netip.Addr]bool
}

func newCutHost(n *carriertest.Network) *cutHost {
	return &cutHost{Host: n.Host().(*lab.Host), cut: map[netip.Addr]bool{}}
}

// set cuts the ways to some addresses, or joins them again.
func (h *cutHost) set(is bool, to ...netip.Addr) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, a := range to {
		h.cut[a] = is
	}
}

func (h *cutHost) ListenPacket(ctx context.Context, network, address string) (net.PacketConn, error) {
	c, err := h.Host.ListenPacket(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &cutConn{c.(*lab.Conn), h}, nil
}

type cutConn struct {
	*lab.Conn
	host *cutHost
}

func (c *cutConn) WriteTo(b []byte, to net.Addr) (int, error) {
	return c.WriteToUDPAddrPort(b, to.(*net.UDPAddr).AddrPort())
}

func (c *cutConn) WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error) {
	c.host.mu.Lock()
	cut := c.host.cut[to.Addr().Unmap()]
	c.host.mu.Unlock()
	if cut {
		return len(b), nil
	}
	return c.Conn.WriteToUDPAddrPort(b, to)
}

// addrs are all of a host's addresses.
func addrs(t *testing.T, h interface {
	LocalAddrs() ([]netip.Prefix, error)
},
) []netip.Addr {
	t.Helper()
	prefixes, err := h.LocalAddrs()
	if err != nil {
		t.Fatal(err)
	}
	var out []netip.Addr
	for _, p := range prefixes {
		out = append(out, p.Addr())
	}
	return out
}

// newPersonAt starts a person's node on a host that the test has made.
func newPersonAt(t *testing.T, n *carriertest.Network, name string, host carrier.Net) *person {
	t.Helper()
	p := &person{t: t, net: n, config: carrier.Config{Dir: t.TempDir(), Name: name, Net: host}}
	p.start()
	return p
}

// flow is a stream that bytes go over at a steady pace, one way each, while the
// network changes.
type flow struct {
	t    *testing.T
	work sync.WaitGroup
	stop chan struct{}
	mu   sync.Mutex
	got  [2]time.Time     // when bytes last came, at either end
	gap  [2]time.Duration // the longest wait for them
	sum  [2]int
}

const (
	flowEvery = 40 * time.Millisecond
	flowPart  = 2000 // bytes
)

// newFlow begins to send on a stream between two people.
func newFlow(t *testing.T, p *pair, service string) *flow {
	t.Helper()
	a, b := p.session(t, service, nil)
	x, y := streamBetween(t, a, b, nil)
	f := &flow{t: t, stop: make(chan struct{}), got: [2]time.Time{time.Now(), time.Now()}}
	for i, c := range []*carrier.Stream{x, y} {
		f.work.Go(func() { f.write(c, uint64(i)) })
		f.work.Go(func() { f.read(c, i) })
	}
	return f
}

func (f *flow) write(c *carrier.Stream, seed uint64) {
	for part := uint64(0); ; part++ {
		select {
		case <-f.stop:
			if err := c.CloseWrite(); err != nil {
				f.t.Errorf("CloseWrite: %v", err)
			}
			return
		case <-time.After(flowEvery):
		}
		if _, err := c.Write(randomBytes(flowPart, seed+2*part)); err != nil {
			f.t.Errorf("Write of part %d: %v", part, err)
			return
		}
	}
}

// read wants what the other end writes, byte for byte.
func (f *flow) read(c *carrier.Stream, end int) {
	seed := uint64(1 - end)
	got := make([]byte, flowPart)
	for part := uint64(0); ; part++ {
		n, err := io.ReadFull(c, got)
		if n == 0 && err != nil {
			if !errors.Is(err, io.EOF) {
				f.t.Errorf("Read of part %d: %v", part, err)
			}
			return
		}
		f.mu.Lock()
		f.gap[end] = max(f.gap[end], time.Since(f.got[end]))
		f.got[end] = time.Now()
		f.sum[end] += n
		f.mu.Unlock()
		if err != nil || !bytes.Equal(got, randomBytes(flowPart, seed+2*part)) {
			f.t.Errorf("part %d at end %d: %d bytes, %v: not what was sent", part, end, n, err)
			return
		}
	}
}

// gaps returns the longest wait for bytes since the last call.
func (f *flow) gaps() time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	longest := max(f.gap[0], f.gap[1], time.Since(f.got[0]), time.Since(f.got[1]))
	f.gap = [2]time.Duration{}
	return longest
}

// end stops writing and waits until all has been read.
func (f *flow) end() {
	f.t.Helper()
	close(f.stop)
	f.work.Wait()
	if f.sum[0] == 0 || f.sum[1] == 0 {
		f.t.Errorf("%d and %d bytes were read, want some", f.sum[0], f.sum[1])
	}
	f.t.Logf("%d and %d bytes, each once and in order", f.sum[0], f.sum[1])
}

// TestLinkFollowsItsHost: a host gets another address and loses the old one, as
// in another network; what is open goes on, and no byte is lost or doubled.
func TestLinkFollowsItsHost(t *testing.T) {
	bubbleWithDelay(t, 25*time.Millisecond, func(t *testing.T, n *carriertest.Network) {
		p := newPair(t, n)
		f := newFlow(t, p, "roaming")
		time.Sleep(5 * time.Second)
		f.gaps()
		host := p.alice.config.Net.(*lab.Host)
		for i, told := range []bool{false, true, false} {
			old := addrs(t, host)[0]
			fresh := netip.AddrFrom4([4]byte{203, 0, 113, byte(i + 1)})
			host.AddAddr(fresh)
			host.RemoveAddr(old)
			if told {
				p.alice.NetworkChanged()
			}
			time.Sleep(20 * time.Second)
			gap := f.gaps()
			t.Logf("from %s to %s, told %t: the longest wait for bytes was %v", old, fresh, told, gap)
			if gap > 2*time.Second {
				t.Errorf("for %v no byte came, want at most 2 s", gap)
			}
			if got := p.ba.Path().Remote.Addr(); got != fresh {
				t.Errorf("Bob's path leads to %s, want %s", got, fresh)
			}
		}
		f.end()
	})
}

// TestLinkLeavesADeadPath: the path in use dies silently, another one is there.
func TestLinkLeavesADeadPath(t *testing.T) {
	bubbleWithDelay(t, 25*time.Millisecond, func(t *testing.T, n *carriertest.Network) {
		hosts := [2]*cutHost{newCutHost(n), newCutHost(n)}
		for i, h := range hosts {
			h.AddAddr(netip.MustParseAddr(fmt.Sprintf("2001:db8::%d", i+1)))
		}
		p := &pair{alice: newPersonAt(t, n, "Alice", hosts[0]), bob: newPersonAt(t, n, "Bob", hosts[1])}
		p.ab, p.ba = befriend(p.alice, p.bob)
		p.linked(t)
		f := newFlow(t, p, "two paths")
		time.Sleep(5 * time.Second)
		f.gaps()
		for range 2 { // there and back
			was := p.ab.Path()
			cut := map[bool][2]netip.Addr{}
			for i, h := range hosts {
				for _, a := range addrs(t, h) {
					both := cut[a.Is4()]
					both[i] = a
					cut[a.Is4()] = both
				}
			}
			dead := cut[was.Remote.Addr().Is4()]
			hosts[0].set(true, dead[1])
			hosts[1].set(true, dead[0])
			time.Sleep(30 * time.Second)
			now := p.ab.Path()
			gap := f.gaps()
			t.Logf("path %v died: now %v; the longest wait for bytes was %v", was.Remote, now.Remote, gap)
			if gap > 4*time.Second { // where the other path was not known yet, the offer of a restart goes by the DHT
				t.Errorf("for %v no byte came though there was another path, want at most 4 s", gap)
			}
			if now.Kind == carrier.PathNone || now.Remote.Addr().Is4() == was.Remote.Addr().Is4() {
				t.Errorf("the path is %+v, want one of the other family", now)
			}
			hosts[0].set(false, dead[1])
			hosts[1].set(false, dead[0])
			time.Sleep(10 * time.Second)
		}
		f.end()
	})
}

// TestMessageByLink: the largest message goes by the link, at once.
func TestMessageByLink(t *testing.T) {
	bubbleWithDelay(t, 25*time.Millisecond, func(t *testing.T, n *carriertest.Network) {
		p := newPair(t, n)
		time.Sleep(10 * time.Second)
		for _, size := range []int{0, 1, 5000, 64 << 10} {
			for _, way := range [][2]*person{{p.alice, p.bob}, {p.bob, p.alice}} {
				body := string(randomBytes(size, uint64(size)))
				begun := time.Now()
				m := way[0].send(way[1].ID(), body)
				way[0].delivered(m)
				took := time.Since(begun)
				if got := way[1].next(); got.id != m.ID() || got.body != body || got.courier != carrier.CourierLink {
					t.Errorf("%d bytes: %d came by %s, want all by link", size, len(got.body), got.courier)
				}
				if took > time.Second {
					t.Errorf("a message of %d bytes took %v with its receipt, want some round trips of 50 ms", size, took)
				}
			}
		}
		if carrier.CourierLink.String() != "link" {
			t.Errorf("the courier is called %q, want link", carrier.CourierLink)
		}
	})
}

// TestMessagesWhenTheLinkDies: mid-way the friend's host vanishes; what has no
// receipt falls back to the mailbox by itself, and nothing is lost, doubled or
// out of order when the friend is there again, with the sender or without it.
func TestMessagesWhenTheLinkDies(t *testing.T) {
	for _, gone := range []bool{false, true} {
		t.Run(fmt.Sprintf("sender gone %t", gone), func(t *testing.T) {
			bubbleWithDelay(t, 25*time.Millisecond, func(t *testing.T, n *carriertest.Network) {
				const count = 200
				p := newPair(t, n)
				time.Sleep(5 * time.Second)
				var sent []*carrier.Message
				for i := range count {
					if i == count/2 {
						p.bob.hole(true)
					}
					sent = append(sent, p.alice.send(p.bob.ID(), fmt.Sprint("message ", i)))
					time.Sleep(7 * time.Millisecond)
				}
				begun := time.Now()
				for _, m := range sent { // each slot may be the last: a small DHT has them wait for each other
					p.alice.must(m.WaitStored(within(t, time.Minute)))
				}
				t.Logf("all that had no receipt was stored %v after the last was sent", time.Since(begun))
				time.Sleep(20 * time.Second)
				if path := p.ab.Path(); path.Kind != carrier.PathNone {
					t.Errorf("after 20 s Alice's path is %+v, want none", path)
				}
				if gone {
					p.alice.stop()
				}
				p.bob.hole(false)
				couriers := map[carrier.Courier]int{}
				for i, got := range p.bob.read(count, patience) {
					couriers[got.courier]++
					if got.id != sent[i].ID() || got.body != fmt.Sprint("message ", i) {
						t.Fatalf("message %d is %q, want each once and in order", i, got.body)
					}
				}
				t.Logf("%d messages came by %v", count, couriers)
				if couriers[carrier.CourierLink] == 0 || gone && couriers[carrier.CourierLink]+couriers[carrier.CourierDHT] != count {
					t.Errorf("they came by %v, want some by the link, and with the sender gone the rest by the mailbox", couriers)
				}
				p.bob.nothingElse(time.Minute)
				if gone {
					p.alice.start()
				}
				eventually(t, "Alice has all receipts", func() bool {
					for _, m := range p.alice.Outbox() {
						if m.State().Status != carrier.MessageDelivered {
							return false
						}
					}
					return true
				})
			})
		})
	}
}

// TestStreamsEndWithAReplacedLink: a peer that has crashed and is back at once
// makes a new link while this end still holds the old one for alive. What ran on
// that ends with it, not some time.
func TestStreamsEndWithAReplacedLink(t *testing.T) {
	bubbleWithDelay(t, 25*time.Millisecond, func(t *testing.T, n *carriertest.Network) {
		p := newPair(t, n)
		a, b := p.session(t, "replaced", nil)
		x, _ := streamBetween(t, a, b, nil)
		time.Sleep(10 * time.Second)
		p.bob.hole(true) // nothing of its end is heard
		p.bob.stop()
		p.bob.hole(false)
		begun := time.Now()
		p.bob.start()
		p.ba = p.bob.friend(p.alice.ID())
		p.linked(t)
		took := time.Since(begun)
		if took > 5*time.Second {
			t.Errorf("the new link took %v, so that the old one may have died of its own", took)
		}
		p.alice.must(x.SetReadDeadline(time.Now().Add(100 * time.Millisecond)))
		if _, err := x.Read(make([]byte, 1)); !errors.Is(err, carrier.ErrLinkLost) {
			t.Errorf("Read of a stream on a link that was replaced after %v: %v, want ErrLinkLost", took, err)
		}
	})
}
