package main

import (
	"context"
	"sync"

	"github.com/gocarrier/carrier"
)

// receipts is what has been shown of our messages, so that each step is shown
// once in a run, and nothing of a message before "sent". Its lock is held from
// the Send to the showing, so that no event overtakes it.
type receipts struct {
	node *carrier.Node
	show func(event)

	mu     sync.Mutex
	told   map[carrier.MessageID]carrier.MessageStatus // the last that was shown, if any was
	prune  int                                         // told may become so large
	looked bool                                        // the outbox of earlier runs has been shown
}

const pruneFirst = 4096

func newReceipts(node *carrier.Node, show func(event)) *receipts {
	return &receipts{node: node, show: show, told: map[carrier.MessageID]carrier.MessageStatus{}, prune: pruneFirst}
}

// send sends a text and shows that it is durable.
func (r *receipts) send(ctx context.Context, to *carrier.Friend, text string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	msg, err := to.Send(ctx, []byte(text), nil)
	if err != nil {
		return err
	}
	r.show(mail{to: to.ID(), id: msg.ID(), what: "sent"})
	return nil
}

// changed shows a message's new status.
func (r *receipts) changed(m *carrier.Message, s carrier.MessageStatus) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tell(m, s)
}

// lookAtAll shows the end of all messages that ended lately, as far as it was not
// shown in this run, and which ones lie in the DHT: at the start, since a kill
// may have come before it was shown, and where events were lost.
func (r *receipts) lookAtAll() {
	r.mu.Lock()
	defer r.mu.Unlock()
	kept := r.outbox()
	for _, m := range kept {
		r.tell(m, m.State().Status)
	}
	r.looked = true
}

// outbox returns the messages that the node knows and forgets the others.
func (r *receipts) outbox() []*carrier.Message {
	list := r.node.Outbox()
	told := make(map[carrier.MessageID]carrier.MessageStatus, len(list))
	for _, m := range list {
		if s, ok := r.told[m.ID()]; ok {
			told[m.ID()] = s
		}
	}
	r.told, r.prune = told, max(pruneFirst, 2*len(list))
	return list
}

func (r *receipts) tell(m *carrier.Message, s carrier.MessageStatus) {
	was, ok := r.told[m.ID()]
	if ok && (was == s || was.Final()) {
		return
	}
	e := mail{to: m.To(), id: m.ID(), again: !r.looked}
	switch s {
	case carrier.MessageStored:
		e.what = "stored"
	case carrier.MessageDelivered:
		e.what = "delivered"
	case carrier.MessageExpired, carrier.MessageRefused, carrier.MessageCancelled:
		e.what, e.why = "failed", s.String()
	default:
		return
	}
	r.show(e)
	r.told[m.ID()] = s
	if len(r.told) > r.prune {
		r.outbox()
	}
}
