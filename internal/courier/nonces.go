package courier

// replayKept is how many datagrams of mail from one peer are remembered.
const replayKept = 4096

// nonces remembers the newest mail datagrams of a peer, by the beginnings of
// their nonces: a copy of one costs no more than the pair's AEAD. It grows with
// what comes.
type nonces struct {
	known map[[8]byte]struct{}
	order [][8]byte
	next  int // where the oldest stands, once all places are taken
}

// seen reports whether the nonce was noted before, and notes it.
func (n *nonces) seen(nonce [8]byte) bool {
	if _, ok := n.known[nonce]; ok {
		return true
	}
	if n.known == nil {
		n.known = make(map[[8]byte]struct{})
	}
	n.known[nonce] = struct{}{}
	if len(n.order) < replayKept {
		n.order = append(n.order, nonce)
		return false
	}
	delete(n.known, n.order[n.next])
	n.order[n.next] = nonce
	n.next = (n.next + 1) % replayKept
	return false
}
