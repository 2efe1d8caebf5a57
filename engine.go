package carrier

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gocarrier/carrier/crypto"
	"github.com/gocarrier/carrier/dht"
	"github.com/gocarrier/carrier/internal/courier"
	"github.com/gocarrier/carrier/internal/delivery"
	"github.com/gocarrier/carrier/internal/eventq"
	"github.com/gocarrier/carrier/internal/friendship"
	"github.com/gocarrier/carrier/internal/store"
	"github.com/gocarrier/carrier/internal/udpio"
	"github.com/gocarrier/carrier/internal/wire"
)

// engine is the one loop that steps the rooms of a node. It works in turns:
//
//  1. run the queued inputs (calls of the API, datagrams, answers of the DHT)
//     and the timers that are due; the rooms write rows into one batch,
//  2. commit the batch,
//  3. run the effects that waited for the commit: datagrams, DHT operations,
//     events, answers to callers.
//
// So nothing leaves the node before what it promises is durable. The machines
// (friendship, delivery, courier) and everything under "loop" below belong to
// the loop's goroutine alone; lock order elsewhere: queueMu and the handles'
// mutexes are leaves, never held while another is taken. A failed commit ends
// the node: it then lets go of links, sockets and files by itself.
type engine struct {
	node       *Node
	identity   *crypto.Identity
	log        *slog.Logger
	store      store.Store
	prekeyFile *store.Prekeys
	sockets    []*udpio.Socket
	dht        *dht.Node
	inbox      *inbox
	links      *links
	services   *services
	hub        *eventq.Hub[Event]
	config     Config

	ctx    context.Context // ends when the node closes
	cancel context.CancelCauseFunc
	done   chan struct{} // closed when the loop has ended
	ready  chan struct{} // closed when the DHT has first answered
	tasks  sync.WaitGroup

	releasing  atomic.Bool
	released   chan struct{} // closed when all was given back
	releaseErr error         // set before that

	queueMu sync.Mutex
	queue   []func()
	wake    chan struct{} // capacity 1

	selfMu          sync.Mutex // nospam and self, which callers read too
	datagramsQueued atomic.Int64
	counters        counters
	joinError       atomic.Pointer[error]
	known           knowledge

	// loop
	batch   store.Batch
	overlay map[rowKey][]byte // what the batch holds, so that a turn reads its own writes
	effects []func()          // after this turn's commit
	last    []func()          // at this turn's end
	timers  timerHeap

	incarnation crypto.Incarnation
	nospam      crypto.Nospam
	self        *wire.Profile // also under selfMu, as nospam
	presence    Presence
	startNonce  uint64

	friendship *friendship.Machine
	courier    *courier.Courier
	mail       map[crypto.ID]*mailbox
	limits     *delivery.Limits
	stepped    map[crypto.ID]*mailbox // in this turn
	friendsAt  *timer                 // when friendship wants to be advanced
	friendsDue bool                   // it was, or is new
	prekeys    *prekeys
	yields     atomic.Bool // to another node with this identity; set by the loop
	closing    bool        // Shutdown was called
	joined     time.Time   // when the DHT first answered, at all or after a silence
	connected  bool        // the DHT answers
	answered   time.Time   // when it last did
	failed     error       // why the store can no longer be trusted
}

// post queues f for the loop's next turn. It never blocks. After the loop has
// ended f is dropped.
func (e *engine) post(f func()) {
	select {
	case <-e.done:
		return
	default:
	}
	e.queueMu.Lock()
	e.queue = append(e.queue, f)
	e.queueMu.Unlock()
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// do runs f in a turn of the loop and returns its error once that turn has been
// committed. op names the call for the error of a closed node.
func (e *engine) do(ctx context.Context, op string, f func() error) error {
	if err := ctx.Err(); err != nil {
		return ctxError(ctx, op, "", "not begun")
	}
	answer := make(chan error, 1)
	e.post(func() {
		if err := f(); err != nil {
			answer <- err
			return
		}
		e.last = append(e.last, func() { answer <- nil }) // handles show what was done by then
	})
	select {
	case err := <-answer:
		return err
	case <-e.done:
		select {
		case err := <-answer: // answered by the last turn
			return err
		default:
			return closedError(op, e.cause())
		}
	case <-ctx.Done():
		return ctxError(ctx, op, "", "not committed yet")
	}
}

// cause is why the node closed; nil after an ordinary Close.
func (e *engine) cause() error {
	if c := context.Cause(e.ctx); c != nil && !errors.Is(c, errClosed) {
		return c
	}
	return nil
}

// errClosed is the cause of an ordinary Close.
var errClosed = errors.New("closed by the program")

// err is Node.Err.
func (e *engine) err() error {
	select {
	case <-e.done:
		return closedError("run", e.failed)
	default:
		return nil
	}
}

// run is the loop's goroutine. A node that has failed does not wait for Close: to
// its friends it would seem to be there, and take their mail for ever. The
// links are closed as by Close, which tells their peers and needs no store. There
// is no goodbye besides: in what the courier would sign, it and the machines are
// ahead of the store.
func (e *engine) run() {
	e.loop()
	close(e.done)
	if e.failed != nil {
		if err := e.release(); err != nil {
			e.log.Warn("failed node not closed well", "err", err)
		}
	}
}

// loop takes turns until the node closes or fails.
func (e *engine) loop() {
	sleep := time.NewTimer(maxSleep)
	defer sleep.Stop()
	for {
		closing := e.ctx.Err() != nil // asked first: one whole turn runs after the end of ctx
		more, err := e.turn()
		if err != nil {
			e.fail(err)
			return
		}
		if closing {
			return
		}
		if more {
			continue
		}
		sleep.Reset(e.untilNext())
		select {
		case <-e.wake:
		case <-sleep.C:
		case <-e.ctx.Done():
		}
	}
}

// turn takes what is queued and due, and reports whether it found anything.
func (e *engine) turn() (more bool, err error) {
	e.queueMu.Lock()
	inputs := e.queue
	e.queue = nil
	e.queueMu.Unlock()
	due := e.dueTimers()
	for _, f := range inputs {
		f()
	}
	for _, t := range due {
		if !t.stopped {
			t.f()
		}
	}
	e.settleFriendship()
	e.settleMail()
	more = len(inputs) > 0 || len(due) > 0 || e.batch.Len() > 0 || len(e.effects) > 0 || len(e.last) > 0
	if err := e.commit(); err != nil {
		return false, err
	}
	effects := e.effects
	e.effects = nil
	for _, f := range effects {
		f()
	}
	last := e.last
	e.last = nil
	for _, f := range last {
		f()
	}
	return more, nil
}

// commit makes what the turn wrote durable, unless it rests on what could not
// be read.
func (e *engine) commit() error {
	if e.failed != nil {
		return e.failed
	}
	if e.batch.Len() == 0 {
		return nil
	}
	if err := e.store.Commit(&e.batch); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	e.batch.Reset()
	clear(e.overlay)
	return nil
}

// Then runs f on the loop after this turn's commit.
func (e *engine) Then(f func()) { e.effects = append(e.effects, f) }

// After runs f on the loop d from now.
func (e *engine) After(d time.Duration, f func()) courier.Timer { return e.after(d, f) }

func (e *engine) after(d time.Duration, f func()) *timer {
	t := &timer{e: e, at: time.Now().Add(max(d, 0)), f: f}
	heap.Push(&e.timers, t)
	return t
}

// maxSleep bounds the loop's sleep, so that a wall clock that jumps is noticed.
const maxSleep = time.Hour

func (e *engine) untilNext() time.Duration {
	if len(e.timers) == 0 {
		return maxSleep
	}
	return min(max(time.Until(e.timers[0].at), 0), maxSleep)
}

func (e *engine) dueTimers() []*timer {
	var due []*timer
	now := time.Now()
	for len(e.timers) > 0 && !e.timers[0].at.After(now) {
		due = append(due, heap.Pop(&e.timers).(*timer))
	}
	return due
}

// timer is one entry of the loop's heap.
type timer struct {
	e       *engine
	at      time.Time
	f       func()
	index   int // in the heap; -1 when it has left it
	stopped bool
}

// Stop keeps the timer from firing.
func (t *timer) Stop() {
	t.stopped = true
	if t.index >= 0 {
		heap.Remove(&t.e.timers, t.index)
	}
}

type timerHeap []*timer

func (h timerHeap) Len() int           { return len(h) }
func (h timerHeap) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h timerHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (h *timerHeap) Push(x any) {
	t := x.(*timer)
	t.index = len(*h)
	*h = append(*h, t)
}

func (h *timerHeap) Pop() any {
	last := len(*h) - 1
	t := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	t.index = -1
	return t
}

// spawn runs f in a goroutine that Close waits for.
func (e *engine) spawn(f func()) {
	e.tasks.Add(1)
	go func() {
		defer e.tasks.Done()
		f()
	}()
}

// shut is Node.Close: it ends the loop and everything under it, and returns
// when all goroutines have gone.
func (e *engine) shut() error {
	e.post(func() { // for the last turn
		e.inbox.flush()
		e.saveTable()
	})
	e.cancel(errClosed)
	<-e.done
	err := e.release()
	if e.failed != nil {
		return errors.Join(closedError("close", e.failed), err)
	}
	return err
}

// release gives back what start took, in reverse, once; another call waits for
// the first and returns the same. (It waits on a channel: who waits for a mutex
// stops the time of a synctest bubble.) The loop has ended or was never begun.
func (e *engine) release() error {
	if e.releasing.Swap(true) {
		<-e.released
		return e.releaseErr
	}
	defer close(e.released)
	var errs []error
	e.hub.Close(net.ErrClosed)
	e.inbox.close()
	e.services.close()
	errs = append(errs, e.links.close())
	if e.dht != nil {
		errs = append(errs, e.dht.Close())
	}
	for _, s := range e.sockets {
		errs = append(errs, s.Close())
	}
	e.tasks.Wait()
	if e.store != nil {
		errs = append(errs, e.store.Close())
	}
	e.releaseErr = errors.Join(errs...)
	return e.releaseErr
}

// shutdown is Node.Shutdown.
func (e *engine) shutdown(ctx context.Context) error {
	said := make(chan struct{})
	e.post(func() {
		e.closing = true
		e.courier.Shutdown(func() { close(said) })
	})
	e.services.close()
	err := e.links.drain(ctx)
	select {
	case <-said:
	case <-e.done:
	case <-ctx.Done():
		err = ctxError(ctx, "shutdown", "", "friends may not know yet")
	}
	return errors.Join(err, e.shut())
}
