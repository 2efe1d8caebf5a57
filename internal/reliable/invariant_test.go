package reliable

import "fmt"

// check returns what of a machine's state contradicts itself.
func (m *Machine) check() error {
	if m.err != nil {
		return nil
	}
	lanes := []*Lane{m.control}
	for id, l := range m.lanes {
		if l.id != id {
			return fmt.Errorf("lane %d stands at %d", l.id, id)
		}
		lanes = append(lanes, l)
	}
	var unread uint64
	gaps, unsent := 0, 0
	for _, l := range lanes {
		if err := l.check(); err != nil {
			return fmt.Errorf("lane %d: %w", l.id, err)
		}
		if l.id != 0 {
			unread += l.in.highest - l.in.read
		}
		gaps += l.in.got.len()
		unsent += l.out.unsent()
	}
	switch {
	case unread != m.received-m.read:
		return fmt.Errorf("%d bytes unread, counted are %d", unread, m.received-m.read)
	case unread > uint64(m.cfg.LinkWindow):
		return fmt.Errorf("%d bytes unread, more than the Config allows", unread)
	case gaps != m.gaps:
		return fmt.Errorf("%d gaps, counted are %d", gaps, m.gaps)
	case unsent != m.unsent:
		return fmt.Errorf("%d bytes unsent, counted are %d", unsent, m.unsent)
	case m.sentNew > m.linkOut:
		return fmt.Errorf("%d bytes sent, allowed are %d", m.sentNew, m.linkOut)
	case m.acks.numbers.len() > maxTracked:
		return fmt.Errorf("%d ranges of numbers", m.acks.numbers.len())
	}
	if err := m.checkQueues(); err != nil {
		return err
	}
	return m.checkPackets()
}

func (l *Lane) check() error {
	in, o := &l.in, &l.out
	if !(in.read <= in.next && in.next <= in.highest && in.highest <= in.window.limit) {
		return fmt.Errorf("in: read %d, next %d, highest %d, limit %d", in.read, in.next, in.highest, in.window.limit)
	}
	if err := checkSpans(&in.got, in.next+1, in.highest); err != nil {
		return fmt.Errorf("in: got: %w", err)
	}
	if in.ends && in.final != in.highest {
		return fmt.Errorf("in: ends at %d, highest is %d", in.final, in.highest)
	}
	if held := in.top() - in.read; held > uint64(len(in.ring.buf)) || held == 0 && in.ring.buf != nil {
		return fmt.Errorf("in: %d bytes in a ring of %d", held, len(in.ring.buf))
	}
	if !(o.acked <= o.next && o.next <= o.written) || o.next > o.limit {
		return fmt.Errorf("out: acked %d, next %d, written %d, limit %d", o.acked, o.next, o.written, o.limit)
	}
	if err := checkSpans(&o.lost, o.acked, o.next); err != nil {
		return fmt.Errorf("out: lost: %w", err)
	}
	if err := checkSpans(&o.arrived, o.acked+1, o.next); err != nil {
		return fmt.Errorf("out: arrived: %w", err)
	}
	for _, x := range o.lost.spans() {
		for _, y := range o.arrived.spans() {
			if x.lo < y.hi && y.lo < x.hi {
				return fmt.Errorf("out: lost %v has arrived: %v", x, y)
			}
		}
	}
	if held := o.written - o.acked; held > uint64(len(o.ring.buf)) || held == 0 && o.ring.buf != nil {
		return fmt.Errorf("out: %d bytes in a ring of %d", held, len(o.ring.buf))
	}
	m := l.m
	switch wants := o.again() || o.fresh(); {
	case l.id == 0:
	case wants && l.queue == nil:
		return fmt.Errorf("has something to send and does not wait")
	case l.queue == &m.starved && (o.again() || m.sentNew < m.linkOut):
		return fmt.Errorf("waits for credit without need")
	}
	return nil
}

// checkSpans checks that a set is in order and between bounds.
func checkSpans(r *ranges, low, high uint64) error {
	for _, x := range r.spans() {
		if x.lo < low || x.hi <= x.lo || x.hi > high {
			return fmt.Errorf("span %v, want from %d up to %d", x, low, high)
		}
		low = x.hi + 1
	}
	return nil
}

func (m *Machine) checkQueues() error {
	for _, q := range []*laneQueue{&m.active, &m.starved} {
		var last *Lane
		for l := q.first; l != nil; last, l = l, l.next {
			if l.queue != q || l.prev != last {
				return fmt.Errorf("lane %d is badly queued", l.id)
			}
		}
		if q.last != last {
			return fmt.Errorf("the end of a queue is not its end")
		}
	}
	return nil
}

func (m *Machine) checkPackets() error {
	bytes, packets, records := 0, 0, 0
	for _, list := range []*packetList{&m.sent.flying, &m.sent.lost} {
		n, last, next := 0, int32(0), uint64(0)
		for i := list.head; i != 0; i = m.sent.packets.at(i).next {
			p := m.sent.packets.at(i)
			if p.pn < next || p.pn >= m.sent.next {
				return fmt.Errorf("packet %d out of order", p.pn)
			}
			next, last = p.pn+1, i
			n++
			records++
			if list == &m.sent.flying && p.path == m.recovery.path {
				bytes += int(p.size)
				packets++
			}
		}
		if list.n != n || list.tail != last {
			return fmt.Errorf("%d packets listed, counted are %d", n, list.n)
		}
	}
	switch r := &m.recovery; {
	case bytes != r.inFlight || packets != r.packets:
		return fmt.Errorf("%d packets and %d bytes in flight, counted are %d and %d", packets, bytes, r.packets, r.inFlight)
	case records != m.sent.packets.used():
		return fmt.Errorf("%d packets known, %d records used", records, m.sent.packets.used())
	case m.sent.lost.n > maxLost:
		return fmt.Errorf("%d lost packets known", m.sent.lost.n)
	}
	return nil
}
