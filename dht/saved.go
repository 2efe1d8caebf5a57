package dht

import (
	"encoding/binary"
	"errors"
)

// A saved table is a version byte and then, for IPv4 and for IPv6, our node ID,
// a count of two bytes, and that many compact nodes.
const (
	savedVersion = 1
	savedNodes   = 200 // of one family
)

var errSaved = errors.New("not a saved routing table")

// saved is one family's part of a saved table.
type saved struct {
	id    nodeID
	nodes []contact
}

// Table returns the routing table in a form to be kept for Config.Table of the
// next run: about 10 KB at most. Save it at the end and every few minutes.
func (n *Node) Table() []byte {
	b := []byte{savedVersion}
	for _, six := range []bool{false, true} {
		var id nodeID
		var nodes []contact
		for _, f := range n.families {
			if f.six != six {
				continue
			}
			f.mu.Lock()
			id = f.id
			all := f.table.all()
			f.mu.Unlock()
			for _, node := range all[:min(len(all), savedNodes)] {
				nodes = append(nodes, node.contact)
			}
		}
		b = append(b, id[:]...)
		b = binary.BigEndian.AppendUint16(b, uint16(len(nodes)))
		b = appendNodes(b, nodes)
	}
	return b
}

// parseSaved reads what Table wrote.
func parseSaved(b []byte) (four, six saved, err error) {
	if len(b) == 0 || b[0] != savedVersion {
		return four, six, errSaved
	}
	b = b[1:]
	read := func(to *saved, size int) {
		if err != nil || len(b) < 22 {
			err = errSaved
			return
		}
		to.id = nodeID(b[:20])
		count := int(binary.BigEndian.Uint16(b[20:]))
		b = b[22:]
		if count > savedNodes || len(b) < count*size {
			err = errSaved
			return
		}
		to.nodes = parseNodes(b[:count*size], size)
		b = b[count*size:]
	}
	read(&four, compactNode4)
	read(&six, compactNode6)
	if err == nil && len(b) > 0 {
		err = errSaved
	}
	return four, six, err
}
