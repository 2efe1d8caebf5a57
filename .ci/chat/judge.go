package main

import (
	"fmt"
	"strings"
)

// verdict is what became of the messages that one chat sent to another.
type verdict struct {
	told, sent, shown, delivered int
	repeats                      int      // shown again, as a kill allows
	waiting                      []string // texts that are sent, and not yet shown or delivered
	unshown                      int      // of them
}

func (v verdict) String() string {
	return fmt.Sprintf("%d told, %d sent, %d shown, %d delivered, %d repeats", v.told, v.sent, v.shown, v.delivered, v.repeats)
}

// judge compares what a sender was told by /msg and said with what a receiver
// said, over all the lives of both:
//
//   - what was sent is sent once, in the order of /msg;
//   - what is shown was told, and shown first in that order;
//   - a message is shown again only if it was the last one shown before a kill,
//     with the same MSGID and text, before any other of the new life;
//   - nothing fails, and what is delivered has been shown or is about to be.
//
// Its error is what no later line can mend. All texts must differ.
func judge(sender, receiver []line, senderID, receiverID string) (verdict, error) {
	var v verdict
	order := map[string]int{}     // place of a text among those told
	texts := map[int][]string{}   // of a life, in order
	sent := map[string]string{}   // by MSGID
	delivered := map[string]int{} // life in which it was said last
	next := map[int]int{}         // of a life: which of its texts is to be sent next
	command := "/msg " + receiverID + " "
	for _, l := range sender {
		if text, ok := strings.CutPrefix(l.text, command); ok && l.from == told {
			if _, again := order[text]; again {
				return v, fmt.Errorf("%q was told twice: the test is wrong", short(text))
			}
			order[text] = v.told
			texts[l.life] = append(texts[l.life], text)
			v.told++
		}
		if l.from != said {
			continue
		}
		switch {
		case l.is("sent", receiverID):
			id := l.fields[1]
			if before, again := sent[id]; again {
				return v, fmt.Errorf("sent twice: %s, %q", id, short(before))
			}
			i := next[l.life]
			if i >= len(texts[l.life]) {
				return v, fmt.Errorf("life %d was told %d messages, and sent more", l.life, i)
			}
			sent[id] = texts[l.life][i]
			next[l.life]++
			v.sent++
		case l.is("delivered", receiverID):
			id := l.fields[1]
			if delivered[id] == l.life {
				return v, fmt.Errorf("delivered twice in life %d: %s, %q", l.life, id, short(sent[id]))
			}
			delivered[id] = l.life
		case l.is("failed", receiverID):
			return v, fmt.Errorf("failed: %s, %q: %s", l.fields[1], short(sent[l.fields[1]]), l.fields[2])
		case l.kind == "error":
			return v, fmt.Errorf("the sender got the error %q", short(l.fields[0]))
		}
	}

	shown := map[string]string{} // by MSGID
	known := map[string]bool{}   // texts
	var last line
	latest := -1
	for _, l := range receiver {
		if l.from != said || !l.is("message", senderID) {
			continue
		}
		id, text := l.fields[1], l.fields[3]
		place, ours := order[text]
		before, again := shown[id]
		switch {
		case !ours:
			return v, fmt.Errorf("shown, but never told: %s, %q", id, short(text))
		case again && text != before:
			return v, fmt.Errorf("shown as %q and then as %q: %s", short(before), short(text), id)
		case again && (id != last.fields[1] || l.life == last.life):
			return v, fmt.Errorf("shown again in life %d, and not as the first after a kill: %s, %q", l.life, id, short(text))
		case again && !killed(receiver, last.life):
			return v, fmt.Errorf("shown again after an end in order: %s, %q", id, short(text))
		case again:
			v.repeats++
		case known[text]:
			return v, fmt.Errorf("%q is shown under two MSGIDs, the second is %s", short(text), id)
		case place < latest:
			return v, fmt.Errorf("%q is shown after what was told later", short(text))
		default:
			v.shown++
			shown[id], known[text], latest = text, true, place
		}
		last = l
	}
	for id, text := range sent {
		was, isShown := shown[id]
		if isShown && was != text {
			return v, fmt.Errorf("sent: the message told as %q got the MSGID of %q", short(text), short(was))
		}
		if delivered[id] != 0 {
			v.delivered++
		}
		if !isShown || delivered[id] == 0 {
			v.waiting = append(v.waiting, text)
		}
		if !isShown {
			v.unshown++
		}
		if !isShown && latest > order[text] {
			return v, fmt.Errorf("%q was sent, and what was told later is shown before it", short(text))
		}
	}
	return v, nil
}

// killed reports whether a life was ended by a kill.
func killed(lines []line, life int) bool {
	for _, l := range lines {
		if l.life == life && l.from == noted && l.text == "killed" {
			return true
		}
	}
	return false
}
