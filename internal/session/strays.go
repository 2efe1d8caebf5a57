package session

import "time"

// strays are lanes of the peer's that no message has named yet: data overtakes
// what is said of it. Under the peer's lock.
type strays struct {
	p     *Peer
	list  []stray
	timer *time.Timer
}

type stray struct {
	lane Lane
	at   time.Time
}

// add keeps a lane for [strayTime]; it reports false if there are too many.
func (x *strays) add(l Lane) bool {
	if len(x.list) >= maxStrays {
		return false
	}
	x.list = append(x.list, stray{l, time.Now()})
	if x.timer == nil {
		x.timer = time.AfterFunc(strayTime, x.expire)
	}
	return true
}

// take returns a lane, nil if it is not there.
func (x *strays) take(id uint64) Lane {
	for i, s := range x.list {
		if s.lane.ID() == id {
			x.list = append(x.list[:i], x.list[i+1:]...)
			return s.lane
		}
	}
	return nil
}

// expire stops the lanes that nothing has named in time.
func (x *strays) expire() {
	x.p.mu.Lock()
	defer x.p.mu.Unlock()
	for len(x.list) > 0 && time.Since(x.list[0].at) >= strayTime {
		abandon(x.list[0].lane, laneUnclaimed)
		x.p.count(countStrays)
		x.list = x.list[1:]
	}
	x.timer = nil
	if len(x.list) > 0 {
		x.timer = time.AfterFunc(strayTime-time.Since(x.list[0].at), x.expire)
	}
}

// drop returns all lanes, and keeps none.
func (x *strays) drop() (lanes []Lane) {
	for _, s := range x.list {
		lanes = append(lanes, s.lane)
	}
	x.list = nil
	if x.timer != nil {
		x.timer.Stop()
		x.timer = nil
	}
	return lanes
}
