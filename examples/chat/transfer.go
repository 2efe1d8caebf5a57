package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"time"
	"unicode/utf8"

	"github.com/gocarrier/carrier"
)

// One file is one session of the service chat/file. Its metadata is the offer,
// in JSON. Who sends opens one bulk stream on it and writes the content and its
// SHA-256; who takes it answers with the SHA-256 of what lies on its disk, and
// both close. Whatever goes wrong aborts the session with the reason.
const fileService = "chat/file"

const (
	blockSize  = 64 << 10
	stallTime  = time.Minute      // without a byte that moves
	openTime   = 30 * time.Second // for the link, the session and its stream
	answerTime = 5 * time.Minute  // for the friend's disk to have it all
	endTime    = 10 * time.Second // for the session to end in order
	maxReason  = 255              // bytes, of the library
)

// errEnding is why a file stops that was under way at the end.
var errEnding = errors.New("the chat was ended")

// offer is what is said of a file before it is sent.
type offer struct {
	Name string `json:"name"`
	Size int64  `json:"size"`
}

func (o offer) encode() ([]byte, error) { return json.Marshal(o) }

// parseOffer reads a friend's offer. The name is as the friend gave it.
func parseOffer(metadata []byte) (offer, error) {
	var o offer
	switch err := json.Unmarshal(metadata, &o); {
	case err != nil:
		return offer{}, errors.New("the offer of a file cannot be read")
	case o.Size < 0:
		return offer{}, errors.New("the offered file is less than empty")
	case o.Name == "":
		return offer{}, errors.New("the offered file has no name")
	}
	return o, nil
}

// transfer is one file under way, whichever way.
type transfer struct {
	peer carrier.ID
	name string
	size int64
	show func(event)
}

// moved tells how far it is.
func (t *transfer) moved(n int64) { t.show(progress{file: t, done: n, size: t.size}) }

// over ends what moved has shown.
func (t *transfer) over() { t.show(progress{file: t, size: t.size, over: true}) }

// failed shows why it came to nothing, and ends the session with the same words.
func (t *transfer) failed(ctx context.Context, session *carrier.Session, err error) {
	switch {
	case ctx.Err() != nil:
		err = errEnding
	case session != nil:
		err = ended(session, err)
	}
	if session != nil {
		session.Abort(reason(err))
	}
	t.show(fileFailed{t.peer, t.name, reason(err)})
}

// ended prefers why the session has ended to what its stream says; the two come
// on lanes of their own.
func ended(session *carrier.Session, err error) error {
	if _, ok := errors.AsType[*net.OpError](err); !ok || errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	select {
	case <-session.Done():
		return session.Err()
	case <-time.After(time.Second):
		return err
	}
}

// reason puts an error into a few words for both people: without the paths of
// this machine, and the names that the library puts before its errors.
func reason(err error) string {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = fmt.Errorf("stalled: nothing has moved for %v", stallTime)
	}
	if e, ok := errors.AsType[*carrier.Error](err); ok {
		err = e.Err
	}
	if e, ok := errors.AsType[*net.OpError](err); ok {
		err = e.Err
	}
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		err = fmt.Errorf("%s: %w", e.Op, e.Err)
	}
	if e, ok := errors.AsType[*os.LinkError](err); ok {
		err = fmt.Errorf("%s: %w", e.Op, e.Err)
	}
	return cut(err.Error(), maxReason)
}

// cut shortens a text to at most n bytes, between characters.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
