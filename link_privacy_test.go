package carrier_test

import (
	"bytes"
	"crypto/x509"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocarrier/carrier"
	"github.com/gocarrier/carrier/carriertest"
	"github.com/gocarrier/carrier/internal/lab"
)

// marks are what could tell an observer that two links are between the same two
// people: what stands in clear in STUN, DTLS and data packets.
type marks struct {
	mu       sync.Mutex
	kinds    map[string]map[string]bool // by kind, the values seen
	partial  map[string][]byte          // handshake messages of which parts have come
	ways     map[string]map[way]bool    // by connection ID, where it went
	problems []string
}

// way is the two ends of a datagram.
type way struct{ from, to netip.AddrPort }

func newMarks() *marks {
	return &marks{kinds: map[string]map[string]bool{}, partial: map[string][]byte{}, ways: map[string]map[way]bool{}}
}

func (m *marks) note(kind string, value []byte) {
	if m.kinds[kind] == nil {
		m.kinds[kind] = map[string]bool{}
	}
	m.kinds[kind][hex.EncodeToString(value)] = true
}

// tap takes the marks off a datagram.
func (m *marks) tap(from, to netip.AddrPort, b []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case len(b) == 0:
	case b[0] <= 1:
		m.stun(b)
	case b[0] == 0xCC && len(b) > 9:
		m.note("attempt ID", b[1:9])
		m.records(string(b[1:9])+from.String(), b[9:])
	case b[0] >= 0xC0 && b[0] <= 0xC7 && len(b) > 9:
		m.note("connection ID", b[1:9])
		id := hex.EncodeToString(b[1:9])
		if m.ways[id] == nil {
			m.ways[id] = map[way]bool{}
		}
		m.ways[id][way{from, to}] = true
	}
}

// stun reads the attributes of a STUN message (RFC 8489, sections 5 and 14).
func (m *marks) stun(b []byte) {
	for b = b[min(20, len(b)):]; len(b) >= 4; {
		kind, size := binary.BigEndian.Uint16(b), int(binary.BigEndian.Uint16(b[2:]))
		if len(b) < 4+size {
			m.problems = append(m.problems, "a STUN attribute beyond the message's end")
			return
		}
		value := b[4 : 4+size]
		switch kind {
		case 0x0006: // USERNAME: the fragments of both ends
			for _, fragment := range bytes.Split(value, []byte(":")) {
				m.note("fragment of a STUN user name", fragment)
			}
		case 0x8029, 0x802A: // ICE-CONTROLLED, ICE-CONTROLLING
			m.note("ICE tie-breaker", value)
		case 0x8022: // SOFTWARE
			m.problems = append(m.problems, fmt.Sprintf("STUN names the software: %q", value))
		}
		b = b[min(4+(size+3)&^3, len(b)):]
	}
}

// records reads the plain handshake messages in DTLS records (RFC 6347, section
// 4): hellos and certificates.
func (m *marks) records(flow string, b []byte) {
	for len(b) >= 13 {
		size := int(binary.BigEndian.Uint16(b[11:]))
		plain := b[0] == 22 && binary.BigEndian.Uint16(b[3:]) == 0
		if len(b) < 13+size {
			m.problems = append(m.problems, "a DTLS record beyond the datagram's end")
			return
		}
		if plain {
			m.handshake(flow, b[13:13+size])
		}
		b = b[13+size:]
	}
}

func (m *marks) handshake(flow string, b []byte) {
	for len(b) >= 12 {
		u24 := func(at int) int { return int(b[at])<<16 | int(binary.BigEndian.Uint16(b[at+1:])) }
		total, at, size := u24(1), u24(6), u24(9)
		key := fmt.Sprint(flow, b[4:6])
		if len(b) < 12+size || at+size > total {
			m.problems = append(m.problems, "a DTLS handshake fragment beyond its end")
			return
		}
		if m.partial[key] == nil {
			m.partial[key] = make([]byte, total)
		}
		copy(m.partial[key][at:], b[12:12+size])
		if at+size == total {
			m.message(b[0], m.partial[key])
		}
		b = b[12+size:]
	}
}

func (m *marks) message(kind byte, body []byte) {
	switch kind {
	case 1, 2: // ClientHello, ServerHello: version, random (the first 4 bytes are a time in old stacks)
		m.note("DTLS random", body[2:34])
		if id := int(body[34]); id > 0 {
			m.note("DTLS session ID", body[35:35+id])
		}
	case 11: // Certificate
		for list := body[3:]; len(list) >= 3; {
			size := int(list[0])<<16 | int(binary.BigEndian.Uint16(list[1:]))
			m.certificate(list[3 : 3+size])
			list = list[3+size:]
		}
	}
}

func (m *marks) certificate(der []byte) {
	m.note("certificate", der)
	c, err := x509.ParseCertificate(der)
	if err != nil {
		m.problems = append(m.problems, "a certificate that cannot be read: "+err.Error())
		return
	}
	m.note("certificate's key", c.RawSubjectPublicKeyInfo)
	if names := c.Subject.String() + c.Issuer.String() + strings.Join(c.DNSNames, ""); names != "" || !c.SerialNumber.IsInt64() || c.SerialNumber.Int64() != 1 {
		m.problems = append(m.problems, fmt.Sprintf("a certificate with the serial number %v and the names %q, want 1 and none, as in all", c.SerialNumber, names))
	}
}

// repeats returns what of these marks was seen before.
func (m *marks) repeats(before *marks) (found []string) {
	for kind, values := range m.kinds {
		for v := range values {
			if before.kinds[kind][v] {
				found = append(found, kind+" "+v)
			}
		}
	}
	return found
}

// TestLinksCannotBeTold: over several links between the same two people nothing
// that stands in clear repeats, and no identity, name or word of theirs is in
// any datagram.
func TestLinksCannotBeTold(t *testing.T) {
	const links = 4
	synctest.Test(t, func(t *testing.T) {
		n := carriertest.NewNetwork(t, &carriertest.Options{Delay: 5 * time.Millisecond})
		var mu sync.Mutex
		now, record := newMarks(), &recording{}
		n.Tap(func(from, to netip.AddrPort, b []byte) {
			mu.Lock()
			defer mu.Unlock()
			now.tap(from, to, b)
			record.add(from, to, b)
		})
		alice := newPersonAt(t, n, privateAlice, n.Host())
		bob := newPersonAt(t, n, privateBob, n.Host())
		private := secrets{}
		private.addPerson("Alice", alice.Address())
		private.addPerson("Bob", bob.Address())
		private.addText(privateAlice, privateBob, privateDirect, privateMailbox, privateHello)
		p := &pair{alice: alice, bob: bob}
		p.ab, p.ba = befriend(alice, bob)
		all := newMarks()
		for i := range links {
			p.linked(t)
			a, b := p.session(t, privateHello, &carrier.SessionOptions{Metadata: []byte(privateMailbox)})
			x, y := streamBetween(t, a, b, nil)
			go echoConn(y)
			if err := talkTo(x, []byte(strings.Repeat(privateDirect, 100))); err != nil {
				t.Fatal(err)
			}
			d, e := streamBetween(t, a, b, &carrier.StreamOptions{Mode: carrier.Datagram})
			write(t, d, privateMailbox)
			if _, err := e.Read(make([]byte, 100)); err != nil {
				t.Fatal(err)
			}
			p.alice.delivered(p.alice.send(bob.ID(), privateMailbox))
			p.bob.stop()
			eventually(t, "Alice has lost the link", func() bool { return p.ab.Path().Kind == carrier.PathNone })
			time.Sleep(time.Minute) // whatever is under way of it is over

			mu.Lock()
			these := now
			now = newMarks()
			mu.Unlock()
			for _, what := range these.problems {
				t.Errorf("link %d: %s", i, what)
			}
			for _, what := range these.repeats(all) {
				t.Errorf("link %d has in common with an earlier one: %s", i, what)
			}
			seen := map[string]int{}
			for kind, values := range these.kinds {
				seen[kind] = len(values)
				if all.kinds[kind] == nil {
					all.kinds[kind] = map[string]bool{}
				}
				for v := range values {
					all.kinds[kind][v] = true
				}
			}
			for kind, least := range map[string]int{"fragment of a STUN user name": 2, "ICE tie-breaker": 2, "attempt ID": 1, "DTLS random": 2, "certificate": 2, "connection ID": 2} {
				if seen[kind] < least {
					t.Errorf("link %d: %d of %s were seen, want at least %d: the check is blind", i, seen[kind], kind, least)
				}
			}
			t.Logf("link %d: %v", i, seen)
			p.bob.start()
			p.ba = p.bob.friend(alice.ID())
		}
		for _, name := range private.leaks(record.all()) {
			t.Errorf("on the wire: %s", name)
		}
	})
}

// TestRoamingCannotBeFollowed: who moves to another address shows none of the
// connection IDs there that were seen at the old one.
func TestRoamingCannotBeFollowed(t *testing.T) {
	bubbleWithDelay(t, 5*time.Millisecond, func(t *testing.T, n *carriertest.Network) {
		m := newMarks()
		n.Tap(m.tap)
		p := newPair(t, n)
		f := newFlow(t, p, "roaming")
		time.Sleep(5*time.Second + flowEvery/2) // not in the instant of a write
		host := p.alice.config.Net.(*lab.Host)
		old, fresh := addrs(t, host)[0], netip.MustParseAddr("203.0.113.1")
		host.AddAddr(fresh)
		host.RemoveAddr(old)
		p.alice.NetworkChanged() // who does not know of it cannot help it
		time.Sleep(20 * time.Second)
		f.end()
		m.mu.Lock()
		defer m.mu.Unlock()
		moved := 0
		for id, ways := range m.ways {
			if len(ways) > 1 {
				t.Errorf("connection ID %s went %v, want one way only", id, ways)
			}
			for w := range ways {
				if w.from.Addr() == fresh || w.to.Addr() == fresh {
					moved++
				}
			}
		}
		if moved < 2 || len(m.ways) < 4 {
			t.Errorf("%d connection IDs were seen, %d of them with the new address: the check is blind", len(m.ways), moved)
		}
	})
}
