package session

import (
	"sync"
	"time"
)

// A deadline is one of net.Conn's. Its fields, and those who wait on cond, are
// under the lock of cond.
type deadline struct {
	cond    *sync.Cond
	expired bool
	timer   *time.Timer
	set     uint64 // counts calls of at: a timer that fires late is told from the present one
}

// at sets the deadline; the zero time is none.
func (d *deadline) at(t time.Time) {
	d.set++
	d.expired = false
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	if t.IsZero() {
		return
	}
	wait := time.Until(t)
	if wait <= 0 {
		d.expired = true
		d.cond.Broadcast()
		return
	}
	set := d.set
	d.timer = time.AfterFunc(wait, func() {
		d.cond.L.Lock()
		defer d.cond.L.Unlock()
		if d.set == set {
			d.expired = true
			d.cond.Broadcast()
		}
	})
}
