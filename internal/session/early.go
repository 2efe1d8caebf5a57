package session

import "time"

// early holds datagrams of flows whose opening has not come yet: they may
// overtake it.
type early struct{ list []earlyDatagram }

type earlyDatagram struct {
	datagram
	flow uint64
	at   time.Time
}

// add keeps a copy of b for [earlyTime], and reports whether it drops another
// one for that, the oldest.
func (e *early) add(budget *Budget, flow uint64, b []byte) (dropped bool) {
	e.expire()
	if len(e.list) == maxEarly {
		budget.give(e.list[0].buf)
		e.list = append(e.list[:0], e.list[1:]...)
		dropped = true
	}
	e.list = append(e.list, earlyDatagram{datagram: budget.hold(b), flow: flow, at: time.Now()})
	return dropped
}

// take returns those of a flow, in their order.
func (e *early) take(flow uint64) (list []datagram) {
	e.expire()
	kept := e.list[:0]
	for _, d := range e.list {
		if d.flow == flow {
			list = append(list, d.datagram)
		} else {
			kept = append(kept, d)
		}
	}
	clear(e.list[len(kept):])
	e.list = kept
	return list
}

// expire drops those that have waited for too long.
func (e *early) expire() {
	for len(e.list) > 0 && time.Since(e.list[0].at) > earlyTime {
		e.list = e.list[1:]
	}
}

// drop lets go of all.
func (e *early) drop() { e.list = nil }
