package main

import (
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/gocarrier/carrier"
)

// event is something to be shown. lines gives it in the line protocol, each line
// with its end; "": it is for people only.
type event interface{ lines() string }

type (
	ready struct{}
	me    struct {
		id      carrier.ID
		address carrier.Address
	}
	request  struct{ carrier.FriendRequest }
	requests []carrier.FriendRequest
	// friendNews is what has become of a friend.
	friendNews struct {
		id   carrier.ID
		what string // added, online, offline, removed or refused
	}
	friendList []friendRow
	friendRow  struct {
		id                 carrier.ID
		state, name, label string // state: online, offline, pending, or for people why they are no friend
		path               carrier.Path
	}
	message struct{ *carrier.Message }
	// mail is what has become of a message of ours.
	mail struct {
		to    carrier.ID
		id    carrier.MessageID
		what  string // sent, stored, delivered or failed
		why   string // of failed
		again bool   // it was so before this start
	}
	// fileBegun, fileReceived, fileSent and fileFailed are the life of a file.
	fileBegun struct {
		from carrier.ID
		name string
		size int64
	}
	fileReceived struct {
		from carrier.ID
		path string
		size int64
		sum  [32]byte
	}
	fileSent struct {
		to   carrier.ID
		name string
		size int64
		sum  [32]byte
	}
	fileFailed struct {
		peer         carrier.ID
		name, reason string
	}
	// progress is how far a file has come; the last one has over set.
	progress struct {
		file       *transfer
		done, size int64
		over       bool
	}
	help   struct{}
	failed struct {
		command string
		err     error
	}
	// done says to people that a command did what it should.
	done string
	// talking says to whom a text without a command goes.
	talking struct{ to *carrier.Friend }
)

func (ready) lines() string { return "ready\n" }

func (e me) lines() string { return fmt.Sprintf("id: %s\naddress: %s\n", e.id, e.address) }

func (e request) lines() string { return fmt.Sprintf("request: %s %q\n", e.ID, e.Hello) }

func (e requests) lines() string {
	var b strings.Builder
	for _, r := range e {
		b.WriteString(request{r}.lines())
	}
	return b.String() + "end\n"
}

func (e friendNews) lines() string { return fmt.Sprintf("friend: %s %s\n", e.id, e.what) }

func (e friendList) lines() string {
	var b strings.Builder
	for _, f := range e {
		switch f.state {
		case "online", "offline", "pending":
			fmt.Fprintf(&b, "friends: %s %s %q %s\n", f.id, f.state, f.label, way(f.path.Kind))
		}
	}
	return b.String() + "end\n"
}

// way names the kind of a path in the protocol's words.
func way(k carrier.PathKind) string {
	switch k {
	case carrier.PathLAN:
		return "lan"
	case carrier.PathDirect:
		return "direct"
	case carrier.PathRelay:
		return "relay"
	default:
		return "none"
	}
}

func (e message) lines() string {
	how := "live"
	if e.Courier() == carrier.CourierDHT {
		how = "offline"
	}
	return fmt.Sprintf("message: %s %s %s %q\n", e.From(), e.ID(), how, e.Body())
}

func (e mail) lines() string {
	return strings.TrimSuffix(fmt.Sprintf("%s: %s %s %s", e.what, e.to, e.id, e.why), " ") + "\n"
}

func (e fileBegun) lines() string { return fmt.Sprintf("file: %s %q %d\n", e.from, e.name, e.size) }

func (e fileReceived) lines() string {
	return fmt.Sprintf("received: %s %q %d %s\n", e.from, e.path, e.size, hex.EncodeToString(e.sum[:]))
}

func (e fileSent) lines() string {
	return fmt.Sprintf("filesent: %s %q %d %s\n", e.to, e.name, e.size, hex.EncodeToString(e.sum[:]))
}

func (e fileFailed) lines() string {
	return fmt.Sprintf("filefailed: %s %q %q\n", e.peer, e.name, e.reason)
}

func (progress) lines() string { return "" }

func (help) lines() string {
	var b strings.Builder
	for _, v := range verbs() {
		fmt.Fprintf(&b, "help: %-22s %s\n", "/"+v.name+" "+v.usage, v.about)
	}
	return b.String()
}

func (e failed) lines() string { return fmt.Sprintf("error: %q\n", e.text()) }

// text is the error with its command, and without the library's name.
func (e failed) text() string {
	return "/" + e.command + ": " + strings.TrimPrefix(e.err.Error(), "carrier: ")
}

func (done) lines() string { return "" }

func (talking) lines() string { return "" }
