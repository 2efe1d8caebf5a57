package reliable

import (
	"fmt"

	"github.com/gocarrier/carrier/internal/wire"
)

// datagramCost is what a datagram counts in a queue above its own bytes.
const datagramCost = 32

// A datagramQueue holds datagrams of limit bytes, the cost of each counted; the oldest give way to new ones.
type datagramQueue struct {
	limit      int
	ring       ring
	head, tail uint64 // offsets of the bytes held
	items      []datagram
	first      int // items before it are gone
}

type datagram struct {
	session, flow uint64
	n             int
}

// frameLen is how long the datagram's frame is.
func (d datagram) frameLen() int { return wire.DatagramOverhead(d.session, d.flow, d.n) + d.n }

func (q *datagramQueue) len() int { return len(q.items) - q.first }

func (q *datagramQueue) empty() bool { return q.len() == 0 }

// front returns the oldest datagram of a queue that is not empty.
func (q *datagramQueue) front() datagram { return q.items[q.first] }

// push appends a datagram, and returns how many older ones gave way to it.
func (q *datagramQueue) push(p *pool, d *wire.Datagram) (dropped int) {
	for !q.empty() && int(q.tail-q.head)+q.len()*datagramCost+len(d.Data)+datagramCost > q.limit {
		q.pop(p, nil)
		dropped++
	}
	if len(d.Data) > 0 {
		end := q.tail + uint64(len(d.Data))
		q.ring.reserve(p, q.head, q.tail, end)
		q.ring.put(q.tail, d.Data)
		q.tail = end
	}
	if len(q.items) == cap(q.items) && q.first > len(q.items)/4 {
		q.items = q.items[:copy(q.items, q.items[q.first:])]
		q.first = 0
	}
	q.items = append(q.items, datagram{session: d.Session, flow: d.Flow, n: len(d.Data)})
	return dropped
}

// pop removes the oldest datagram of a queue that is not empty, and copies it to dst unless that is nil.
func (q *datagramQueue) pop(p *pool, dst []byte) {
	d := q.front()
	if dst != nil && d.n > 0 {
		q.ring.get(q.head, dst[:d.n])
	}
	q.head += uint64(d.n)
	if q.head == q.tail {
		q.ring.release(p)
	}
	if q.first++; q.first == len(q.items) {
		q.items, q.first = q.items[:0], 0
	}
}

// trim frees memory that is made again when needed.
func (q *datagramQueue) trim() {
	if q.empty() {
		q.items, q.first = nil, 0
	}
}

// MaxDatagram is the length of the longest datagram that fits into a packet that the path has carried from the start,
// whatever its session and flow: [Machine.SetMaxPacket] does not change it.
func (m *Machine) MaxDatagram() int {
	return m.size.base - 1 - wire.DatagramOverhead(wire.MaxVarint, wire.MaxVarint, m.size.base) // 1: PING
}

// SendDatagram queues a datagram, of a session and flow of at most [wire.MaxVarint]; it is sent once, and lost if its
// packet is. The oldest ones are dropped, and counted, when the queue is full. [ErrTooLong]: p is longer than
// [Machine.MaxDatagram].
func (m *Machine) SendDatagram(session, flow uint64, p []byte) error {
	if m.err != nil {
		return m.err
	}
	if len(p) > m.MaxDatagram() {
		return fmt.Errorf("%w: %d bytes, at most %d", ErrTooLong, len(p), m.MaxDatagram())
	}
	if session > wire.MaxVarint || flow > wire.MaxVarint {
		return fmt.Errorf("reliable: datagram of session %d, flow %d: above every varint", session, flow)
	}
	m.stats.DatagramsDropped += uint64(m.outbox.push(&m.pool, &wire.Datagram{Session: session, Flow: flow, Data: p}))
	return nil
}

// ReadDatagram returns the oldest datagram that has come. p is valid until the next call of any method.
func (m *Machine) ReadDatagram() (session, flow uint64, p []byte, ok bool) {
	if m.inbox.empty() {
		return 0, 0, nil, false
	}
	d := m.inbox.front()
	if cap(m.datagram) < d.n {
		m.datagram = make([]byte, 1<<class(d.n))
	}
	p = m.datagram[:d.n]
	m.inbox.pop(&m.pool, p)
	m.live()
	return d.session, d.flow, p, true
}

// receiveDatagram takes a DATAGRAM frame.
func (m *Machine) receiveDatagram(d *wire.Datagram) {
	m.stats.DatagramsReceived++
	m.stats.DatagramsUnread += uint64(m.inbox.push(&m.pool, d))
	m.ready |= Datagrams
}

// datagrams appends as many datagrams as there is room for. One that no packet of this size holds is dropped.
func (m *Machine) datagrams(b []byte) []byte {
	for !m.outbox.empty() {
		d := m.outbox.front()
		if size := d.frameLen(); size > room(b) {
			if size < cap(b) { // of which a PING may take one byte
				break
			}
			m.outbox.pop(&m.pool, nil)
			m.stats.DatagramsDropped++
			continue
		}
		b = wire.AppendVarint(append(b, byte(wire.FrameDatagram)), d.session)
		b = wire.AppendVarint(wire.AppendVarint(b, d.flow), uint64(d.n))
		end := len(b)
		b = b[:end+d.n]
		m.outbox.pop(&m.pool, b[end:])
		m.stats.DatagramsSent++
	}
	return b
}
