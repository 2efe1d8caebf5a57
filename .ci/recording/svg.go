package main

import (
	"cmp"
	"encoding/xml"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

const (
	cellWidth  = 8.0
	cellHeight = 17.0
	baseline   = 13.0 // of the text in its cell
	margin     = 10.0
	titleBar   = 26.0
	// longestPause is how long nothing may happen in the recording; what took
	// longer is shown as that.
	longestPause = 1500 * time.Millisecond
	// lastPause is how long the end stays.
	lastPause = 6 * time.Second
)

// palette are the 16 colours, readable on the background.
var palette = [16]string{
	"#8b949e", "#ff7b72", "#7ee787", "#e3b341", "#79c0ff", "#d2a8ff", "#56d4dd", "#d0d7de",
	"#8b949e", "#ffa198", "#aff5b4", "#f2cc60", "#a5d6ff", "#e2c5ff", "#8be9f0", "#ffffff",
}

const (
	background = "#161b22"
	foreground = "#d0d7de"
)

// span is when something is to be seen in a terminal.
type span struct {
	terminal int
	from, to time.Duration
}

// shown is a row of a screen with its content during a span.
type shown struct {
	row     int
	content string
}

// render draws the frames as an SVG that needs nothing else: each row of each
// screen, with the time in which it is to be seen. Where nothing moves, by wish
// or for want of CSS, it shows the end.
func render(titles []string, frames []frame) []byte {
	when, total := schedule(frames)
	rowsAt := map[span][]shown{}
	for terminal := range titles {
		for row := range rows {
			for i := 0; i < len(frames); {
				content := draw(rowOf(frames[i], terminal, row))
				last := i + 1
				for last < len(frames) && draw(rowOf(frames[last], terminal, row)) == content {
					last++
				}
				if content != "" {
					end := total
					if last < len(frames) {
						end = when[last]
					}
					s := span{terminal, when[i], end}
					rowsAt[s] = append(rowsAt[s], shown{row, content})
				}
				i = last
			}
		}
	}
	width := float64(len(titles))*(columns*cellWidth+2*margin) + float64(len(titles)-1)*margin
	height := titleBar + rows*cellHeight + 2*margin

	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %g %g" role="img" aria-label="A recording of two terminals">`+"\n", width, height)
	b.WriteString("<style>\n")
	fmt.Fprintf(&b, "text{font:13px ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace;fill:%s}\n", foreground)
	b.WriteString(".b{font-weight:bold}.d{opacity:.65}\n")
	for i, color := range palette {
		fmt.Fprintf(&b, ".c%x{fill:%s}", i, color)
	}
	fmt.Fprintf(&b, ".i{fill:%s}.o{fill:%s}\n", background, foreground)
	fmt.Fprintf(&b, "g[style]{opacity:0;animation:%s infinite step-end}.l[style]{opacity:1}\n", seconds(total))
	spans := slices.SortedFunc(maps.Keys(rowsAt), func(a, b span) int {
		return cmp.Or(cmp.Compare(a.terminal, b.terminal), cmp.Compare(a.from, b.from), cmp.Compare(a.to, b.to))
	})
	for i, s := range spans {
		fmt.Fprintf(&b, "@keyframes k%d{%s}\n", i, keyframes(s, total))
	}
	b.WriteString("@media(prefers-reduced-motion:reduce){g[style]{animation:none!important}}\n</style>\n")

	left := func(terminal int) float64 { return float64(terminal) * (columns*cellWidth + 3*margin) }
	for i, title := range titles {
		w := columns*cellWidth + 2*margin
		fmt.Fprintf(&b, `<rect x="%g" y=".5" width="%g" height="%g" rx="8" fill="%s" stroke="#6e7681"/>`, left(i)+.5, w-1, height-1, background)
		fmt.Fprintf(&b, `<text x="%g" y="18" text-anchor="middle" class="d">%s</text>`+"\n", left(i)+w/2, escape(title))
	}
	contents, uses := map[string]int{}, strings.Builder{}
	b.WriteString("<defs>\n")
	terminal := -1
	for i, s := range spans {
		if s.terminal != terminal {
			if terminal >= 0 {
				uses.WriteString("</g>\n")
			}
			terminal = s.terminal
			fmt.Fprintf(&uses, `<g transform="translate(%g,%g)">`+"\n", left(terminal)+margin, titleBar+margin+baseline)
		}
		class := ""
		if s.to == total {
			class = ` class="l"`
		}
		fmt.Fprintf(&uses, `<g%s style="animation-name:k%d">`, class, i)
		for _, row := range rowsAt[s] {
			id, known := contents[row.content]
			if !known {
				id = len(contents)
				contents[row.content] = id
				fmt.Fprintf(&b, "%s\n", named(row.content, id))
			}
			fmt.Fprintf(&uses, `<use href="#t%d" y="%g"/>`, id, float64(row.row)*cellHeight)
		}
		uses.WriteString("</g>\n")
	}
	if terminal >= 0 {
		uses.WriteString("</g>\n")
	}
	b.WriteString("</defs>\n")
	b.WriteString(uses.String())
	b.WriteString("</svg>\n")
	return []byte(b.String())
}

// named gives a content its id: to its one element, or to a group of them.
func named(content string, id int) string {
	if rest, ok := strings.CutPrefix(content, "<text"); ok && !strings.Contains(rest, "<text") && !strings.Contains(rest, "<rect") {
		return fmt.Sprintf(`<text id="t%d"%s`, id, rest)
	}
	return fmt.Sprintf(`<g id="t%d">%s</g>`, id, content)
}

// schedule says when each frame is to be seen, and how long all of it takes.
func schedule(frames []frame) (when []time.Duration, total time.Duration) {
	for i, f := range frames {
		if i > 0 {
			total += min(f.at.Sub(frames[i-1].at), longestPause)
		}
		when = append(when, total)
	}
	return when, total + lastPause
}

func rowOf(f frame, terminal, row int) line {
	if screen := f.screens[terminal]; row < len(screen) {
		return screen[row]
	}
	return nil
}

// draw gives the content of a row: a text for each piece of one style. Its width
// is set, so that it fits whatever font there is; more than one blank is no text.
func draw(l line) string {
	var b strings.Builder
	for start := 0; start < len(l); {
		if l[start].r == ' ' && !l[start].reverse {
			start++
			continue
		}
		end := start + 1
		for end < len(l) && l[end].style == l[start].style && (l[end].r != ' ' || l[end-1].r != ' ') {
			end++
		}
		piece := l[start:end]
		if !piece[0].reverse {
			piece = piece[:len([]rune(strings.TrimRight(piece.text(), " ")))]
		}
		x, width := float64(start)*cellWidth, float64(len(piece))*cellWidth
		s := piece[0].style
		if s.reverse {
			fmt.Fprintf(&b, `<rect x="%g" y="%g" width="%g" height="%g" class="o"/>`, x, -baseline, width, cellHeight)
		}
		if strings.TrimSpace(piece.text()) != "" {
			at := ""
			if x > 0 {
				at = fmt.Sprintf(` x="%g"`, x)
			}
			fmt.Fprintf(&b, `<text%s%s textLength="%g">%s</text>`, at, classes(s), width, escape(piece.text()))
		}
		start = end
	}
	return b.String()
}

func classes(s style) string {
	var names []string
	switch {
	case s.reverse:
		names = append(names, "i")
	case s.color >= 0:
		names = append(names, fmt.Sprintf("c%x", s.color))
	}
	if s.bold {
		names = append(names, "b")
	}
	if s.dim {
		names = append(names, "d")
	}
	if names == nil {
		return ""
	}
	return ` class="` + strings.Join(names, " ") + `"`
}

// keyframes is the animation of a span. What a keyframe at the begin or the end
// leaves out is as without animation: seen if the span reaches the end.
func keyframes(s span, total time.Duration) string {
	at := func(d time.Duration, opacity int) string {
		part := strings.TrimSuffix(fmt.Sprintf("%.1f", 100*float64(d)/float64(total)), ".0")
		return fmt.Sprintf("%s%%{opacity:%d}", part, opacity)
	}
	switch {
	case s.to < total:
		return at(s.from, 1) + at(s.to, 0)
	case s.from > 0:
		return at(0, 0) + at(s.from, 1)
	}
	return ""
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1fs", d.Seconds()) }

func escape(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // a strings.Builder takes all
	return b.String()
}
