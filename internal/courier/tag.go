package courier

import (
	"time"

	"github.com/gocarrier/carrier/crypto"
)

// tags maps the tag of a datagram to the friends that it may be from. Three
// hours are kept, for clocks that differ by up to one.
type tags struct {
	c    *Courier
	hour crypto.Epoch
	of   map[crypto.Tag][]candidate
}

type candidate struct {
	peer *peer
	week crypto.Epoch // of the tag's hour: names the key
}

func (t *tags) init(c *Courier) {
	t.c = c
	t.hour = crypto.Hour(c.loop.Now())
	t.of = make(map[crypto.Tag][]candidate)
}

// find gives the candidates for a tag.
func (t *tags) find(tag crypto.Tag) []candidate {
	t.rotate(t.c.loop.Now())
	return t.of[tag]
}

func (t *tags) rotate(now time.Time) {
	if h := crypto.Hour(now); h != t.hour {
		t.hour = h
		clear(t.of)
		for _, p := range t.c.peers {
			t.add(p)
		}
	}
}

func (t *tags) add(p *peer) {
	for _, h := range t.hours() {
		tag := p.pair.Tag(crypto.In, h)
		t.of[tag] = append(t.of[tag], candidate{p, crypto.HourWeek(h)})
	}
}

func (t *tags) remove(p *peer) {
	for _, h := range t.hours() {
		tag := p.pair.Tag(crypto.In, h)
		var left []candidate
		for _, c := range t.of[tag] {
			if c.peer != p {
				left = append(left, c)
			}
		}
		if left == nil {
			delete(t.of, tag)
		} else {
			t.of[tag] = left
		}
	}
}

func (t *tags) hours() []crypto.Epoch {
	if t.hour == 0 {
		return []crypto.Epoch{0, 1}
	}
	return []crypto.Epoch{t.hour - 1, t.hour, t.hour + 1}
}
