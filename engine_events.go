package carrier

import (
	"context"
	"iter"
	"maps"
	"sync"

	"github.com/gocarrier/carrier/internal/eventq"
)

// publish gives an event to every reader. Loop only, after the commit.
func (e *engine) publish(ev Event, key string) { e.hub.Publish(ev, key) }

// knowledge is what the node was last told of itself. The mutex is a leaf.
type knowledge struct {
	mu        sync.Mutex
	connected Connected
	twin      IdentityInUse
	skew      ClockSkew
}

func (k *knowledge) get() (Connected, IdentityInUse, ClockSkew) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.connected, k.twin, k.skew
}

// tell publishes a fact about the node itself, which can be asked from then on.
// Loop only, after the commit.
func (e *engine) tell(ev Event) {
	k := &e.known
	k.mu.Lock()
	switch ev := ev.(type) {
	case Connected:
		k.connected = ev
	case IdentityInUse:
		k.twin = ev
	case ClockSkew:
		k.skew = ev
	}
	k.mu.Unlock()
	e.publish(ev, "")
}

// warnings is Node.Warnings.
func (e *engine) warnings() []Event {
	_, twin, skew := e.known.get()
	var all []Event
	if !twin.Since.IsZero() && !twin.Gone {
		all = append(all, twin)
	}
	if skew.Skew != 0 {
		all = append(all, skew)
	}
	for _, f := range e.friendList() {
		if info, _ := f.snapshot(); info.format != 0 {
			all = append(all, PeerNewer{Friend: f, Format: info.format})
		}
	}
	return all
}

// connectedNow is Node.Connected.
func (e *engine) connectedNow() bool {
	connected, _, _ := e.known.get()
	return connected.Connected && e.err() == nil
}

// publishPresence publishes what the handle shows now; unread ones coalesce.
func (e *engine) publishPresence(f *Friend) {
	e.publish(presenceOf(f), "presence "+string(f.id[:]))
}

func presenceOf(f *Friend) FriendPresence {
	info, _ := f.snapshot()
	ev := FriendPresence{Friend: f, Online: info.online, Presence: info.presence, Endpoint: info.endpoint}
	if !ev.Online {
		ev.Presence = PresenceOffline
	}
	return ev
}

// snapshot is what a reader is told first. Loop only, after the commit.
func (e *engine) snapshot() []Event {
	connected, _, _ := e.known.get()
	all := append([]Event{connected}, e.warnings()...)
	for _, f := range e.friendList() {
		info, _ := f.snapshot()
		all = append(all, FriendChanged{Friend: f, State: info.state})
		if info.profile != (Profile{}) {
			all = append(all, FriendProfile{Friend: f, Profile: info.profile})
		}
		if info.online {
			all = append(all, presenceOf(f))
		}
		if info.path.Kind != PathNone {
			all = append(all, FriendPath{Friend: f, Path: info.path})
		}
	}
	for _, r := range e.requestList() {
		all = append(all, r)
	}
	return append(all, Synced{})
}

// events is Node.Events.
func (e *engine) events(ctx context.Context) iter.Seq[Event] {
	var queue *eventq.Queue[Event]
	err := e.between(func() {
		queue = e.hub.Subscribe(e.snapshot(), func(q *eventq.Queue[Event]) {
			e.atEnd(func() { q.Restart(e.snapshot()) })
		})
	})
	if err != nil {
		return func(func(Event) bool) {}
	}
	stop := context.AfterFunc(ctx, func() { queue.Discard(ctx.Err()) })
	return func(yield func(Event) bool) {
		defer queue.Discard(nil)
		defer stop() // ctx may live on
		for {
			ev, lagged, err := queue.Next(ctx)
			if err != nil {
				return
			}
			if lagged > 0 {
				ev = Lagged{N: lagged}
			}
			if !yield(ev) {
				return
			}
		}
	}
}

// atEnd runs f at the end of a turn, after its effects: what was published and
// what the handles show then fit together.
func (e *engine) atEnd(f func()) {
	e.post(func() { e.last = append(e.last, f) })
}

// between is atEnd, waiting for f: a turn, so not for long.
func (e *engine) between(f func()) error {
	done := make(chan struct{})
	e.atEnd(func() { f(); close(done) })
	select {
	case <-done:
		return nil
	case <-e.done:
		return closedError("events", e.cause())
	}
}

// counters are the engine's own, by name. The mutex is a leaf.
type counters struct {
	mu sync.Mutex
	m  map[string]uint64
}

func (c *counters) add(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.m == nil {
		c.m = map[string]uint64{}
	}
	c.m[name]++
}

func (c *counters) all() map[string]uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.m)
}

// stats is Node.Stats.
func (e *engine) stats() map[string]uint64 {
	all := map[string]uint64{}
	add := func(prefix string, m map[string]uint64) {
		for name, n := range m {
			all[prefix+name] += n
		}
	}
	add("", e.counters.all())
	for _, s := range e.sockets {
		add("udp.", s.Stats().Counters())
	}
	add("dht.", e.dht.Stats())
	add("link.", e.links.transport.Stats())
	e.ask(func() {
		add("courier.", e.courier.Stats())
		for _, box := range e.mail {
			add("delivery.", box.counters())
		}
		add("", e.friendship.Stats()) // these carry their room in their names
	})
	return all
}
