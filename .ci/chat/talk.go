package main

import (
	"fmt"
	"time"
)

// talk is messages one way, from a moment on.
type talk struct {
	from, to         *actor
	fromID, toID     string
	fromMark, toMark int
}

func newTalk(from, to *actor, fromID, toID string) *talk {
	return &talk{from: from, to: to, fromID: fromID, toID: toID, fromMark: from.mark(), toMark: to.mark()}
}

func (t *talk) send(format string, args ...any) error {
	return t.from.tell("/msg %s %s", t.toID, fmt.Sprintf(format, args...))
}

func (t *talk) judge() (verdict, error) {
	v, err := judge(t.from.record(t.fromMark), t.to.record(t.toMark), t.fromID, t.toID)
	if err != nil {
		err = fmt.Errorf("%s → %s: %w (%v)", t.from.name, t.to.name, err, v)
	}
	return v, err
}

// settle waits until all that was told is sent, shown and delivered. With lost
// set, what was told in a life that was killed need not have been sent.
func (t *talk) settle(limit time.Duration, lost bool) (verdict, error) {
	for begun := time.Now(); ; {
		v, err := t.judge()
		if err != nil {
			return v, err
		}
		if (lost || v.sent == v.told) && len(v.waiting) == 0 {
			return v, nil
		}
		if time.Since(begun) > limit {
			return v, fmt.Errorf("%s → %s: after %v not all has arrived: %v; waiting: %.300q", t.from.name, t.to.name, limit, v, v.waiting)
		}
		for _, a := range []*actor{t.from, t.to} {
			if err := a.alive(); err != nil {
				return v, err
			}
		}
		if err := t.from.lab.pause(20 * time.Millisecond); err != nil {
			return v, fmt.Errorf("%w: %v", err, v)
		}
	}
}
