package carrier_test

import (
	"bytes"
	"maps"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocarrier/carrier"
	"github.com/gocarrier/carrier/carriertest"
)

const linkFloods = 20_000 // datagrams of the flood

// traffic counts the bytes between an attacker and everybody else.
type traffic struct {
	mu       sync.Mutex
	attacker netip.Addr
	sent     int
	answered int // KRPC aside
	answers  map[byte]int
}

func (c *traffic) tap(from, to netip.AddrPort, b []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case from.Addr() == c.attacker:
		c.sent += len(b)
	case to.Addr() == c.attacker && len(b) > 0 && b[0] != 'd':
		c.answered += len(b)
		c.answers[b[0]]++
	}
}

// isLinks reports whether a datagram is of a link: STUN, handshake or data.
func isLinks(b []byte) bool {
	return len(b) > 0 && (b[0] <= 3 || b[0] >= 0xC0 && b[0] <= 0xC7 || b[0] == 0xCC)
}

// TestHostileLinkDatagrams throws at a node with a live link what this and other
// links have sent, changed in every way, and noise that begins like it. The link
// stays, all is counted, and the attacker gets no more bytes than it sends.
func TestHostileLinkDatagrams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const seed = 2
		random := rand.New(rand.NewPCG(seed, 0))
		n := carriertest.NewNetwork(t, nil)
		var record recording
		n.Tap(record.add)
		p := newPair(t, n)
		a, b := p.session(t, "attacked", nil)
		x, y := streamBetween(t, a, b, nil)
		for i := range 50 { // data packets of all lengths
			write(t, x, string(randomBytes(20*i+1, uint64(i))))
			time.Sleep(10 * time.Millisecond)
		}
		go func() { _, _ = y.Read(make([]byte, 1<<20)) }()
		newPair(t, n) // a handshake that is nothing to Alice
		record.stop()
		var real [][]byte
		kinds := map[byte]int{}
		for _, d := range record.all() {
			if isLinks(d) && (d[0] < 0xC0 || kinds[0xC0] < 200 || d[0] == 0xCC) {
				real = append(real, d)
				if d[0] >= 0xC0 && d[0] <= 0xC7 {
					kinds[0xC0]++
				} else {
					kinds[d[0]]++
				}
			}
		}
		if kinds[0] == 0 || kinds[1] == 0 || kinds[0xC0] == 0 || kinds[0xCC] == 0 {
			t.Fatalf("recorded %v, want STUN requests and answers, data and handshakes", kinds)
		}
		events := recordNews(t, p.alice.Node)
		host := n.Host()
		count := &traffic{attacker: addrs(t, host)[0], answers: map[byte]int{}}
		n.Tap(count.tap)
		attacker, err := host.ListenPacket(t.Context(), "udp4", ":0")
		if err != nil {
			t.Fatal(err)
		}
		defer attacker.Close()
		send := func(b []byte) {
			t.Helper()
			if _, err := attacker.WriteTo(b, net.UDPAddrFromAddrPort(p.alice.LocalAddrs()[0])); err != nil {
				t.Fatal(err)
			}
		}
		before, heap := p.alice.Stats(), liveHeap()
		for i := range volume(linkFloods) {
			send(hostileLinkDatagram(random, real, i))
			if i%50 == 0 {
				time.Sleep(5 * time.Millisecond)
			}
			if i%2000 == 0 {
				c, d := streamBetween(t, a, b, nil)
				go echoConn(d)
				if err := talkTo(c, randomBytes(5000, uint64(i))); err != nil {
					t.Fatalf("after %d hostile datagrams: %v", i, err)
				}
			}
		}
		time.Sleep(30 * time.Second)
		counted(t, p.alice.Node, before,
			"link.mux.dropped.stun_malformed", "link.mux.dropped.handshake_no_attempt", "link.data.unknown", "link.data.unopened")
		rose := map[string]uint64{}
		for name, now := range p.alice.Stats() {
			if now != before[name] && (len(name) > 4 && name[:5] == "link." || len(name) > 3 && name[:4] == "udp.") {
				rose[name] = now - before[name]
			}
		}
		count.mu.Lock()
		sent, answered, answers := count.sent, count.answered, maps.Clone(count.answers)
		count.mu.Unlock()
		t.Logf("%d bytes were sent and %d came back (by first byte: %v); counted: %v", sent, answered, answers, rose)
		if answered > sent {
			t.Errorf("the attacker got %d bytes for %d", answered, sent)
		}
		if paths := eventsOf[carrier.FriendPath](events); len(paths) != 0 {
			t.Errorf("Alice's path changed under the attack: %+v", paths)
		}
		if a.Err() != nil || b.Err() != nil {
			t.Errorf("the session ended: %v, %v", a.Err(), b.Err())
		}
		if now := liveHeap(); now > heap+hostileHeap {
			t.Errorf("the attack has left %d KiB of live heap behind, want at most %d", (now-heap)>>10, hostileHeap>>10)
		}
	})
}

// recordNews records events from the end of the snapshot on.
func recordNews(t *testing.T, node *carrier.Node) *recorder {
	t.Helper()
	r := record(t, node)
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = nil
	return r
}

// hostileLinkDatagram is the i-th datagram of the flood.
func hostileLinkDatagram(random *rand.Rand, real [][]byte, i int) []byte {
	if i%4 == 0 { // noise behind a first byte of a link
		b := make([]byte, 1+random.IntN(1400))
		for k := range b {
			b[k] = byte(random.Uint32())
		}
		b[0] = []byte{0, 1, 2, 3, 0xC0, 0xC1, 0xC4, 0xC7, 0xCC}[i/4%9]
		if b[0] <= 1 && len(b) >= 20 { // with a header that is right
			size := (len(b) - 20) &^ 3
			b = b[:20+size]
			copy(b[1:], []byte{1, byte(size >> 8), byte(size), 0x21, 0x12, 0xA4, 0x42})
		}
		return b
	}
	b := bytes.Clone(real[random.IntN(len(real))])
	switch i % 6 {
	case 0: // as it was: a replay from elsewhere
	case 1:
		for range 1 + random.IntN(4) {
			b[random.IntN(len(b))] ^= 1 << random.IntN(8)
		}
	case 2:
		b = b[:1+random.IntN(len(b))]
	case 3: // behind the header only, so that it gets as far as can be
		for range 1 + random.IntN(4) {
			at := min(9+random.IntN(max(len(b)-9, 1)), len(b)-1)
			b[at] ^= byte(1 + random.IntN(255))
		}
	case 4: // the head of one and the tail of another
		o := real[random.IntN(len(real))]
		cut := 1 + random.IntN(min(len(b), len(o)))
		b = append(slices.Clone(b[:cut]), o[cut:]...)
	case 5:
		b[0] = []byte{0, 1, 0xC0, 0xC1, 0xC7, 0xCC}[random.IntN(6)]
	}
	return b
}
