package reliable

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/gocarrier/carrier/internal/wire"
)

// TestDatagramQueue: the oldest give way, one always fits, and the bound holds whatever their sizes.
func TestDatagramQueue(t *testing.T) {
	var p pool
	q := datagramQueue{limit: 10_000}
	next := 0
	for i := range 5000 {
		n := i * 7 % 1200
		b := bytes.Repeat([]byte{byte(i)}, n)
		next += q.push(&p, &wire.Datagram{Session: uint64(i), Flow: 2, Data: b})
		if held := int(q.tail-q.head) + q.len()*datagramCost; held > q.limit {
			t.Fatalf("%d bytes held, want at most %d", held, q.limit)
		}
		if i%3 == 0 {
			continue
		}
		d := q.front()
		got := make([]byte, d.n)
		q.pop(&p, got)
		if want := next * 7 % 1200; d.session != uint64(next) || d.n != want || want > 0 && !bytes.Equal(got, bytes.Repeat([]byte{byte(next)}, want)) {
			t.Fatalf("datagram %d of %d bytes, want %d of %d", d.session, d.n, next, want)
		}
		next++
	}
	small := datagramQueue{limit: 1}
	for i := range 3 {
		if dropped := small.push(&p, &wire.Datagram{Data: make([]byte, 1000)}); dropped != min(i, 1) || small.len() != 1 {
			t.Errorf("%d dropped, %d held; want one held", dropped, small.len())
		}
	}
}

// TestMaxDatagram: the longest one goes, whatever goes with it, and none that is longer.
func TestMaxDatagram(t *testing.T) {
	e, c := newSender(t, 1<<20)
	longest := make([]byte, e.MaxDatagram())
	if err := e.SendDatagram(1, 1, append(longest, 0)); !errors.Is(err, ErrTooLong) {
		t.Errorf("too long: %v", err)
	}
	for _, id := range [][2]uint64{{wire.MaxVarint + 1, 0}, {0, wire.MaxVarint + 1}} {
		if err := e.SendDatagram(id[0], id[1], nil); err == nil {
			t.Errorf("session %d, flow %d: taken", id[0], id[1])
		}
	}
	var pn uint64 = 100
	for _, situation := range []string{"alone", "an ACK is pending", "an ACK is due", "a full lane", "the window's last packet"} {
		for range 4 {
			if err := e.SendDatagram(wire.MaxVarint, wire.MaxVarint, longest); err != nil {
				t.Fatal(err)
			}
		}
		switch situation {
		case "an ACK is pending":
			e.hears(time.Second, pn, dataFrame(0, 0, nil, false))
		case "an ACK is due":
			e.hears(time.Second, pn, []byte{byte(wire.FramePing)})
		case "a full lane":
			e.write(1, 100_000)
		case "the window's last packet":
			c.window = e.recovery.inFlight + 4000
		}
		pn += 2
		for packets := 0; !e.outbox.empty(); packets++ {
			if packets > 100 {
				t.Fatalf("%s: %d datagrams are stuck", situation, e.outbox.len())
			}
			if e.NextPacket(time.Second, e.next, e.buf) == 0 { // the window is full
				if situation != "the window's last packet" {
					t.Fatalf("%s: nothing is sent, with %d datagrams waiting", situation, e.outbox.len())
				}
				e.hears(time.Second, pn, ackFrame(0, e.next-1))
				pn++
				continue
			}
			e.next++
			if situation == "an ACK is pending" {
				e.hears(time.Second, pn, dataFrame(0, 0, nil, false)) // always
				pn++
			}
		}
	}
	if s := e.Stats(); s.DatagramsSent != 20 || s.DatagramsDropped != 0 {
		t.Errorf("%d sent, %d dropped; want all sent", s.DatagramsSent, s.DatagramsDropped)
	}
}

// TestDatagramPathShrinks: datagrams that waited for a path with larger packets are dropped, and hold nothing up.
func TestDatagramPathShrinks(t *testing.T) {
	e, _ := newSender(t, 1<<20)
	for range 3 {
		if err := e.SendDatagram(1, 1, make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.SendDatagram(1, 1, make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	e.PathChanged(time.Second, 50*ms, 600)
	if n := e.send(time.Second); n != 1 {
		t.Errorf("%d packets, want one", n)
	}
	if s := e.Stats(); s.DatagramsSent != 1 || s.DatagramsDropped != 3 {
		t.Errorf("%d sent, %d dropped; want 1 and 3", s.DatagramsSent, s.DatagramsDropped)
	}
}

// TestReadDatagram: what comes is read in order; the oldest that nobody read give way.
func TestReadDatagram(t *testing.T) {
	e := newEnd(t, "reader", Config{DatagramQueue: 3200})
	for i := range uint64(5) {
		e.hears(0, i, wire.AppendDatagram(nil, wire.Datagram{Session: i, Flow: i + 1, Data: bytes.Repeat([]byte{byte(i)}, 1000)}))
	}
	if v, ok := e.Poll(); !ok || v.Lane != nil || v.Ready != Datagrams {
		t.Errorf("event %+v", v)
	}
	for want := uint64(2); want < 5; want++ {
		session, flow, p, ok := e.ReadDatagram()
		if !ok || session != want || flow != want+1 || !bytes.Equal(p, bytes.Repeat([]byte{byte(want)}, 1000)) {
			t.Errorf("%d/%d of %d bytes, %v; want number %d", session, flow, len(p), ok, want)
		}
	}
	if _, _, _, ok := e.ReadDatagram(); ok {
		t.Error("one more than came")
	}
	if s := e.Stats(); s.DatagramsReceived != 5 || s.DatagramsUnread != 2 {
		t.Errorf("%d received, %d unread; want 5 and 2", s.DatagramsReceived, s.DatagramsUnread)
	}
}
