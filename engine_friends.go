package carrier

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/gocarrier/carrier/crypto"
	"github.com/gocarrier/carrier/internal/courier"
	"github.com/gocarrier/carrier/internal/delivery"
	"github.com/gocarrier/carrier/internal/friendship"
	"github.com/gocarrier/carrier/internal/wire"
)

func (e *engine) addFriend(ctx context.Context, to Address, hello string) (*Friend, error) {
	const op = "add friend"
	if err := checkText(op, "hello", wire.CheckHello(hello), len(hello), wire.MaxHello); err != nil {
		return nil, err
	}
	if err := to.ID.Valid(); err != nil {
		return nil, badAddress(op, err)
	}
	if to.ID == e.identity.ID() {
		return nil, &Error{Op: op, Err: ErrSelf, Hint: "ask for the other person's address"}
	}
	err := e.do(ctx, op, func() error { return friendError(op, to.ID, e.friendship.Add(e.Now(), to, hello)) })
	if err != nil {
		return nil, err
	}
	return e.node.friends.get(e.node, to.ID), nil
}

func (e *engine) accept(id ID) (*Friend, error) {
	if err := e.friendAct("accept", id, func(id ID) error { return e.friendship.Accept(e.Now(), id) }); err != nil {
		return nil, err
	}
	return e.node.friends.get(e.node, id), nil
}

func (e *engine) refuse(id ID) error {
	return e.friendAct("refuse", id, func(id ID) error { return e.friendship.Refuse(e.Now(), id) })
}

func (e *engine) block(id ID) error {
	return e.friendAct("block", id, func(id ID) error { return e.friendship.Block(e.Now(), id) })
}

func (e *engine) unblock(id ID) error {
	return e.friendAct("unblock", id, func(id ID) error { return e.friendship.Unblock(e.Now(), id) })
}

func (e *engine) remove(id ID) error {
	return e.friendAct("remove", id, func(id ID) error { return e.friendship.Remove(e.Now(), id) })
}

func (e *engine) setLabel(id ID, label string) error {
	return e.friendAct("set label of", id, func(id ID) error {
		if err := e.friendship.Label(id, label); err != nil {
			return err
		}
		e.Then(func() { e.node.friends.get(e.node, id).update(func(i *friendInfo) { i.label = label }) })
		return nil
	})
}

// friendAct runs a durable local act on a person.
func (e *engine) friendAct(op string, id ID, act func(ID) error) error {
	return e.do(context.Background(), op, func() error { return friendError(op, id, act(id)) })
}

// friendError puts the machine's errors into the words of this package.
func friendError(op string, id ID, err error) error {
	if err == nil {
		return nil
	}
	wrapped := &Error{Op: op, What: shortID(id), Err: err}
	for sentinel, to := range map[error]struct {
		err  error
		hint string
	}{
		friendship.ErrSelf:      {ErrSelf, "ask for the other person's"},
		friendship.ErrNotFriend: {ErrNotFriend, "add them first"},
		friendship.ErrNoRequest: {ErrNoRequest, "Requests lists those that are"},
		friendship.ErrBlocked:   {ErrBlocked, "unblock them first"},
		friendship.ErrTooLong:   {ErrTooLong, "a label has at most 255 bytes"},
		friendship.ErrText:      {ErrBadText, "use one line of UTF-8 without control characters"},
	} {
		if errors.Is(err, sentinel) {
			wrapped.Err, wrapped.Hint = to.err, to.hint
		}
	}
	return wrapped
}

func (e *engine) blocked() []ID {
	var ids []ID
	e.ask(func() {
		for p := range e.friendship.People() {
			if p.Blocked {
				ids = append(ids, p.ID)
			}
		}
	})
	return ids
}

func (e *engine) requests() []FriendRequest {
	var list []FriendRequest
	e.ask(func() { list = e.requestList() })
	return list
}

// requestList is requests on the loop.
func (e *engine) requestList() []FriendRequest {
	var list []FriendRequest
	for p := range e.friendship.People() {
		if p.State == friendship.Incoming && !p.Blocked && p.Theirs != nil {
			list = append(list, requestEvent(p.Theirs))
		}
	}
	slices.SortStableFunc(list, func(a, b FriendRequest) int { return a.Time.Compare(b.Time) })
	return list
}

func requestEvent(r *wire.Request) FriendRequest {
	return FriendRequest{ID: r.From, Name: r.Name, Hello: r.Hello, Time: time.UnixMilli(min(r.Time, maxTime))}
}

func (e *engine) friend(id ID) (*Friend, error) {
	if f := e.node.friends.find(id); f != nil && f.State() != FriendNone {
		return f, nil
	}
	return nil, &Error{Op: "find friend", What: shortID(id), Err: ErrNotFriend, Hint: "add them first"}
}

func (e *engine) friendList() []*Friend {
	return slices.DeleteFunc(e.node.friends.all(), func(f *Friend) bool { return f.State() == FriendNone })
}

// ask runs f on the loop and waits for it; on a closed node f is not run.
func (e *engine) ask(f func()) {
	_ = e.do(context.Background(), "ask", func() error { f(); return nil }) // closed: nothing to tell
}

// friendState maps the machine's states to those of a handle. A stranger whose
// request waits for us is no friend yet.
func friendState(p friendship.Person) FriendState {
	switch p.State {
	case friendship.Requested:
		if p.Stored {
			return FriendStored
		}
		return FriendPending
	case friendship.Friend:
		return FriendAccepted
	case friendship.Refused:
		return FriendRefused
	case friendship.Removed:
		return FriendRemoved
	case friendship.Expired:
		return FriendExpired
	case friendship.None, friendship.Incoming:
	}
	return FriendNone
}

// restoreFriends makes the handles of saved people, gives friends their
// mailboxes, and lets settleFriendship tell the courier what is to be done
// again. Before the loop runs.
func (e *engine) restoreFriends() {
	now := e.Now()
	for p := range e.friendship.People() {
		state := friendState(p)
		if state == FriendNone {
			continue
		}
		e.node.friends.get(e.node, p.ID).update(func(i *friendInfo) {
			i.state, i.label = state, p.Label
			if profile, err := wire.ParseProfile(e.Get(tableProfile, p.ID, nil)); err == nil {
				i.profile = Profile{Name: profile.Name, Description: profile.Description}
			}
		})
		if p.State == friendship.Friend {
			box := e.box(p.ID)
			box.peer.Open(now, p.Bond)
			e.step(box)
		}
	}
	e.friendship.Advance(now)
	e.friendsDue = true
	e.settleFriendship()
	for _, f := range e.node.friends.all() {
		f.update(func(i *friendInfo) { i.seen = e.courier.LastSeen(f.id) })
	}
	for id := range e.mail { // also of who is no friend any more: what ended is forgotten in its time
		e.updateCapacity(id)
	}
	e.settleMail()
}

// settleFriendship carries out what the friendship machine has decided.
func (e *engine) settleFriendship() {
	now := e.Now()
	out := e.friendship.Take()
	if out.Empty() && !e.friendsDue {
		return
	}
	e.friendsDue = false
	for _, row := range out.Rows {
		if row.Value == nil {
			e.Delete(tableFriend, row.Owner, nil)
		} else {
			e.Put(tableFriend, row.Owner, nil, row.Value)
		}
	}
	for _, id := range out.Standings {
		e.applyStanding(id)
	}
	for _, ev := range out.Events {
		e.friendEvent(now, ev)
	}
	for _, id := range out.Standings {
		e.courier.StateChanged(id)
	}
	for _, id := range out.Withdrawn {
		e.courier.Withdraw(id)
	}
	for _, r := range out.Requests {
		e.courier.Publish(r.To, r.Number, r.Time, r.Expiry, r.Hello)
	}
	if e.friendsAt != nil {
		e.friendsAt.Stop()
		e.friendsAt = nil
	}
	if next := e.friendship.Next(); !next.IsZero() {
		e.friendsAt = e.after(next.Sub(now), func() {
			e.friendsAt, e.friendsDue = nil, true
			e.friendship.Advance(e.Now())
		})
	}
}

// applyStanding tells the courier how to deal with a person from now on.
func (e *engine) applyStanding(id crypto.ID) {
	p, known := e.friendship.Person(id)
	_, _, publish := e.friendship.Standing(id)
	mode := courier.Mode{Publish: publish}
	switch {
	case p.Blocked:
	case p.State == friendship.Requested:
		mode.Poll = courier.PollPending
	case p.State == friendship.Friend:
		mode.Poll = e.links.poll(id)
		if p.Asked != nil && mode.Poll == courier.PollFriend {
			mode.Poll = courier.PollPending // asked anew: to them we may be nobody
		}
	}
	if mode.Poll == courier.PollNone || p.State != friendship.Friend {
		defer e.links.forget(id) // behind what the courier has to say by the link
	}
	if mode == (courier.Mode{}) && (!known || friendState(p) == FriendNone) {
		e.courier.Forget(id)
		return
	}
	if err := e.courier.SetPeer(id, mode); err != nil {
		e.log.Error("person cannot be reached", "id", shortID(id), "err", err)
	}
}

// friendEvent carries one event to the mailbox, the handle and the readers.
func (e *engine) friendEvent(now time.Time, ev friendship.Event) {
	p, _ := e.friendship.Person(ev.ID)
	if ev.Request != nil && ev.Bond != 0 { // of a friend: it says where and how to reach them
		e.courier.Introduce(ev.Request)
		e.links.met(ev.ID)
		if e.Get(tableProfile, ev.ID, nil) == nil {
			e.tellProfile(ev.ID, Profile{Name: ev.Request.Name})
		}
	}
	state := friendState(p)
	switch ev.Kind {
	case friendship.RequestReceived:
		request := requestEvent(ev.Request)
		e.Then(func() { e.publish(request, "") })
		return
	case friendship.RequestWithdrawn:
		e.Then(func() { e.publish(RequestWithdrawn{ID: ev.ID}, "") })
		return
	case friendship.Added, friendship.BondRaised:
		box := e.box(ev.ID)
		box.peer.Open(now, ev.Bond)
		e.step(box)
		e.updateCapacity(ev.ID)
	case friendship.RefusedByPeer, friendship.RemovedByPeer:
		e.endMail(now, ev.ID, delivery.Refused)
	case friendship.RemovedByUs:
		e.endMail(now, ev.ID, delivery.Cancelled)
		e.Delete(tableProfile, ev.ID, nil)
	case friendship.RequestExpired:
		e.endMail(now, ev.ID, delivery.Expired)
	case friendship.Asked, friendship.RequestStored, friendship.BlockedByUs, friendship.UnblockedByUs:
	}
	e.Then(func() { e.tellFriend(ev.ID, state, p.Label) })
}

func (e *engine) endMail(now time.Time, id crypto.ID, end delivery.State) {
	if box := e.mail[id]; box != nil {
		box.peer.Close(now, end)
		e.step(box)
	}
}

// tellFriend shows a person's new state in the handle and to the readers.
func (e *engine) tellFriend(id crypto.ID, state FriendState, label string) {
	f := e.node.friends.find(id)
	if f == nil {
		if state == FriendNone {
			return // never was a friend
		}
		f = e.node.friends.get(e.node, id)
	}
	info, _ := f.snapshot()
	if info.state == state && info.label == label {
		return
	}
	f.update(func(i *friendInfo) {
		i.state, i.label = state, label
		if state == FriendNone {
			i.profile = Profile{}
		}
	})
	if info.state == state {
		return
	}
	e.publish(FriendChanged{Friend: f, State: state}, "")
	if info.online && state == FriendAccepted { // known before the acceptance was
		e.publishPresence(f)
	}
}

// tellProfile shows a friend's new profile after the commit.
func (e *engine) tellProfile(id crypto.ID, profile Profile) {
	e.Then(func() {
		f := e.node.friends.get(e.node, id)
		if f.Profile() == profile {
			return
		}
		f.update(func(i *friendInfo) { i.profile = profile })
		e.publish(FriendProfile{Friend: f, Profile: profile}, "")
	})
}
