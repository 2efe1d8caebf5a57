package transport

// replayWindowSize is how many numbers, up to the highest one received, are told
// apart. At 1 Gbit/s they are 90 ms.
const replayWindowSize = 8192

const (
	replayWord  = 64
	replayWords = replayWindowSize/replayWord + 1 // the window does not begin with a word
)

// replayWindow knows which of the last packet numbers were received. The bits
// are a ring of words that are cleared when the window enters them (RFC 6479).
type replayWindow struct {
	next uint64 // the highest number received, plus one; 0: none was
	seen [replayWords]uint64
}

// check returns errDuplicate if the number was added, errOld if it is too far
// back to tell, and otherwise nil.
func (w *replayWindow) check(pn uint64) error {
	switch {
	case pn >= w.next:
		return nil
	case w.next-pn > replayWindowSize:
		return errOld
	case w.seen[pn/replayWord%replayWords]>>(pn%replayWord)&1 != 0:
		return errDuplicate
	}
	return nil
}

// add takes the number for received. check must have returned nil for it.
func (w *replayWindow) add(pn uint64) {
	word := pn / replayWord
	if pn >= w.next {
		enter := uint64(0)
		if w.next > 0 {
			enter = (w.next-1)/replayWord + 1
		}
		// All words, if it is further than the ring is long.
		if word >= replayWords {
			enter = max(enter, word-replayWords+1)
		}
		for ; enter <= word; enter++ {
			w.seen[enter%replayWords] = 0
		}
		w.next = pn + 1
	}
	w.seen[word%replayWords] |= 1 << (pn % replayWord)
}
