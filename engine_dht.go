package carrier

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/gocarrier/carrier/dht"
	"github.com/gocarrier/carrier/internal/courier"
)

// slots is the DHT as the courier uses it: each call starts an operation in a
// goroutine of its own, and what it finds comes back in turns of the loop.
type slots struct{ e *engine }

var _ courier.Slots = slots{}

// Get implements courier.Slots.
func (s slots) Get(q courier.Query, each func(courier.Item), done func(courier.Health)) {
	s.run("get", func(ctx context.Context) (func(), dht.Health, error) {
		health, err := s.e.dht.Get(ctx, dht.Query{Key: q.Key, Salt: []byte(q.Salt), Newer: q.Newer, Ask: q.Ask, Wide: q.Wide}, func(item dht.Item) {
			s.e.post(func() { each(fromItem(item)) })
		})
		return func() { done(fromHealth(health)) }, health, err
	})
}

// Put implements courier.Slots.
func (s slots) Put(p courier.Put, done func(courier.PutResult)) {
	s.run("put", func(ctx context.Context) (func(), dht.Health, error) {
		put := dht.Put{Key: p.Key, Salt: []byte(p.Salt), Value: p.Value, Seq: p.Seq, Direct: p.Direct, Not: p.Not}
		if p.Seen != nil {
			put.Seen = func(item dht.Item) { s.e.post(func() { p.Seen(fromItem(item)) }) }
		}
		result, err := s.e.dht.Put(ctx, put)
		return func() { done(s.fromPut(result, err)) }, result.Health, err
	})
}

// Reput implements courier.Slots.
func (s slots) Reput(item courier.Item, done func(courier.PutResult)) {
	s.run("reput", func(ctx context.Context) (func(), dht.Health, error) {
		result, err := s.e.dht.Reput(ctx, toItem(item))
		return func() { done(s.fromPut(result, err)) }, result.Health, err
	})
}

// Announce implements courier.Slots.
func (s slots) Announce(infohash [20]byte, port uint16, done func(courier.Health)) {
	s.run("announce", func(ctx context.Context) (func(), dht.Health, error) {
		health, err := s.e.dht.Announce(ctx, infohash, port)
		return func() { done(fromHealth(health)) }, health, err
	})
}

// Peers implements courier.Slots.
func (s slots) Peers(infohash [20]byte, ask int, each func(netip.AddrPort), done func(courier.Health)) {
	s.run("peers", func(ctx context.Context) (func(), dht.Health, error) {
		health, err := s.e.dht.Peers(ctx, infohash, ask, func(peer netip.AddrPort) {
			s.e.post(func() { each(peer) })
		})
		return func() { done(fromHealth(health)) }, health, err
	})
}

const (
	// operationTimeout ends a DHT operation that its own rules did not end.
	operationTimeout = 30 * time.Second
	// silence is how long nothing answers until the DHT counts as lost.
	silence = 30 * time.Second
)

// run starts an operation. What follows from its failure is in the numbers of
// its result.
func (s slots) run(name string, op func(ctx context.Context) (done func(), health dht.Health, err error)) {
	e := s.e
	e.counters.add("engine.dht." + name)
	e.spawn(func() {
		ctx, cancel := context.WithTimeout(e.ctx, operationTimeout)
		defer cancel()
		done, health, err := op(ctx)
		if err != nil && e.ctx.Err() == nil {
			e.counters.add("engine.dht." + name + ".failed")
			e.log.Debug("DHT operation failed", "op", name, "err", err)
		}
		e.post(func() {
			e.heard(health)
			done()
		})
	})
}

// heard follows by the operations whether the DHT still answers. Loop only.
func (e *engine) heard(h dht.Health) {
	now := e.Now()
	if h.Answered > 0 {
		e.answered = now
	}
	connected := now.Sub(e.answered) < silence
	if e.connected == connected {
		return
	}
	e.connected = connected
	e.log.Info("DHT", "connected", connected)
	e.Then(func() { e.tell(Connected{Connected: connected}) })
}

// join finds the DHT and reports when it first answers; the DHT goes on trying
// by itself.
func (e *engine) join() {
	if err := e.dht.Join(e.ctx); err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, net.ErrClosed) {
		e.joinError.Store(&err)
		e.log.Warn("no DHT node has answered yet", "err", err)
	}
	select {
	case <-e.dht.Ready():
	case <-e.ctx.Done():
		return
	}
	e.post(func() {
		e.heard(dht.Health{Answered: 1})
		e.joined = e.Now()
		e.courier.Ready()
		e.links.resume()
		e.Then(func() { close(e.ready) })
	})
}

// waitReady is Node.WaitReady.
func (e *engine) waitReady(ctx context.Context) error {
	const op = "wait until ready"
	select {
	case <-e.done: // also one that was ready
		return closedError(op, e.cause())
	default:
	}
	select {
	case <-e.ready: // also when ctx has ended
		return nil
	default:
	}
	select {
	case <-e.ready:
		return nil
	case <-e.done:
		return closedError(op, e.cause())
	case <-ctx.Done():
		err := because(ErrNotReady, ended(ctx))
		if last := e.joinError.Load(); last != nil {
			err = fmt.Errorf("%w: %w", err, *last)
		}
		return &Error{Op: op, Err: err, Hint: "check the line and Config.Bootstrap"}
	}
}

func fromItem(i dht.Item) courier.Item {
	return courier.Item{Key: i.Key, Salt: string(i.Salt), Value: i.Value, Seq: i.Seq, Signature: i.Sig}
}

func toItem(i courier.Item) dht.Item {
	return dht.Item{Key: i.Key, Salt: []byte(i.Salt), Value: i.Value, Seq: i.Seq, Sig: i.Signature}
}

func fromHealth(h dht.Health) courier.Health {
	return courier.Health{Asked: h.Asked, Answered: h.Answered}
}

// storedCopies is from how many copies on an item counts as stored, whoever
// else answered.
const storedCopies = 8

// errFewCopies says that a put is to be tried again: there are nodes that could
// hold the item and do not.
var errFewCopies = errors.New("too few copies")

// fewCopies are no more than what one look at a network that is barely known
// finds.
const fewCopies = 3

// joiningFor is how long after its first answer, at all or after a silence, the
// DHT may still know so few nodes that a copy at every one of them says nothing.
const joiningFor = 5 * time.Second

// fromPut runs on the loop.
func (s slots) fromPut(r dht.PutResult, err error) courier.PutResult {
	joining := s.e.Now().Sub(s.e.joined) < joiningFor && r.Stored < fewCopies
	if err == nil && r.Stored < storedCopies && (!r.All || joining) {
		err = errFewCopies
	}
	return courier.PutResult{Asked: r.Asked, Answered: r.Answered, Stored: r.Stored, Newer: r.Newer, Err: err}
}
