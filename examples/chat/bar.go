package main

import (
	"fmt"
	"strings"
	"time"
)

const (
	barWidth = 20 // characters of a bar
	barName  = 24 // characters of a file's name beside it

	speedTime = time.Second / 2 // a speed needs that long to mean something
)

// bars are the files under way, the oldest first.
type bars struct{ list []bar }

type bar struct {
	progress
	begun time.Time
}

// move takes how far a file is.
func (b *bars) move(p progress, now time.Time) {
	for i := range b.list {
		if b.list[i].file == p.file {
			b.list[i].progress = p
			if p.over {
				b.list = append(b.list[:i], b.list[i+1:]...)
			}
			return
		}
	}
	if !p.over {
		b.list = append(b.list, bar{p, now})
	}
}

// line is the oldest file's bar, and how many there are besides; "" without any.
func (b *bars) line(now time.Time) string {
	if len(b.list) == 0 {
		return ""
	}
	f := b.list[0]
	at := barWidth
	if f.size > 0 {
		at = int(float64(f.done) / float64(f.size) * barWidth)
	}
	name := []rune(visible(f.file.name))
	if len(name) > barName {
		name = append(name[:barName-1], '…')
	}
	s := fmt.Sprintf("[%s%s] %3d %% %s", strings.Repeat("=", at), strings.Repeat(" ", barWidth-at), at*100/barWidth, string(name))
	if took := now.Sub(f.begun); took >= speedTime {
		s += " " + showSize(int64(float64(f.done)/took.Seconds())) + "/s"
	}
	if more := len(b.list) - 1; more > 0 {
		s += fmt.Sprintf(" and %d more", more)
	}
	return s + " "
}
