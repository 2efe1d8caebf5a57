package transport

import "encoding/binary"

// connID is the connection ID of a data packet: it tells the receiver which
// link it belongs to, and nobody else anything. Each path has one of its own in
// each direction, so that who sees two paths cannot tell that they are of one
// link.
type connID [8]byte

// connIDs gives the connection IDs of one direction of a link. Both ends derive
// them, so that nothing is negotiated.
type connIDs struct{ secret []byte }

func newConnIDs(master []byte, d direction) connIDs {
	return connIDs{expandSecret(master, directional(connectionLabel, d), secretSize)}
}

// at returns the connection ID of the path with that index.
func (c connIDs) at(index uint32) connID {
	return connID(expandSecret(c.secret, string(binary.BigEndian.AppendUint32(nil, index)), len(connID{})))
}

// dataConnID returns the connection ID of a datagram; false if it is no data
// packet.
func dataConnID(b []byte) (connID, bool) {
	if !isData(b) {
		return connID{}, false
	}
	return connID(b[1 : 1+len(connID{})]), true
}
