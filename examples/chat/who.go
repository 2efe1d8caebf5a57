package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/gocarrier/carrier"
)

// errNobody says that WHO fits no one.
var errNobody = errors.New("nobody is called that")

// named is somebody whom WHO may mean.
type named struct {
	id    carrier.ID
	label string
}

// who finds the one person whom word names: by the whole ID, by the label, or by
// the beginning of either that fits nobody else. A whole label goes before the
// beginning of an ID.
func who(word string, among []named) (carrier.ID, error) {
	if id, err := carrier.ParseID(word); err == nil {
		for _, p := range among {
			if p.id == id {
				return id, nil
			}
		}
		return carrier.ID{}, fmt.Errorf("%q: %w", cut(word, 64), errNobody)
	}
	for _, fits := range []func(named) bool{
		func(p named) bool { return p.label == word },
		func(p named) bool {
			return strings.HasPrefix(p.label, word) || strings.HasPrefix(p.id.String(), word)
		},
	} {
		var found []named
		for _, p := range among {
			if fits(p) {
				found = append(found, p)
			}
		}
		switch len(found) {
		case 0:
		case 1:
			return found[0].id, nil
		default:
			return carrier.ID{}, fmt.Errorf("%q may be %d people; say more of the ID or label", cut(word, 64), len(found))
		}
	}
	return carrier.ID{}, fmt.Errorf("%q: %w; /friends and /requests list everybody", cut(word, 64), errNobody)
}

// friend finds one of those whom /friends lists.
func (c *chat) friend(word string) (*carrier.Friend, error) {
	var among []named
	for _, f := range c.node.Friends() {
		among = append(among, named{f.ID(), f.Label()})
	}
	id, err := who(word, among)
	if err != nil {
		return nil, err
	}
	return c.node.Friend(id)
}

// requester finds one of those whom /requests lists.
func (c *chat) requester(word string) (carrier.ID, error) {
	var among []named
	for _, r := range c.node.Requests() {
		among = append(among, named{id: r.ID})
	}
	return who(word, among)
}
