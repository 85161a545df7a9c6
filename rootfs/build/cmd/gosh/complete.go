package main

import (
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
)

// A line that is being typed ends in a word; these end the one before.
const separators = " \t;|&(){}<>\"'`="

// complete gives the ways in which the word before the cursor may go on: names of commands where one is expected, else
// of files.
func (sh *shell) complete(line string, pos int) (head string, words []string, tail string) {
	runes := []rune(line)
	pos = min(max(pos, 0), len(runes))
	before, tail := string(runes[:pos]), string(runes[pos:])
	start := wordStart(before)
	head, word := before[:start], unescape(before[start:])
	if isCommandPlace(head) && !strings.Contains(word, "/") {
		return head, sh.commandNames(word), tail
	}
	return head, sh.fileNames(word), tail
}

// wordStart returns where the last word of s starts.
func wordStart(s string) int {
	start := 0
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\':
			i++
		case strings.IndexByte(separators, s[i]) >= 0:
			start = i + 1
		}
	}
	return min(start, len(s))
}

func isCommandPlace(head string) bool {
	head = strings.TrimRight(head, " \t")
	if head == "" || strings.IndexByte(";|&({`", head[len(head)-1]) >= 0 {
		return true
	}
	fields := strings.Fields(head)
	return slices.Contains([]string{"then", "do", "else", "elif", "if", "while", "until", "!", "exec", "time"}, fields[len(fields)-1])
}

func (sh *shell) variable(name string) string {
	if v, ok := sh.runner.Vars[name]; ok && v.IsSet() {
		return v.String()
	}
	return os.Getenv(name)
}

func (sh *shell) commandNames(prefix string) []string {
	found := map[string]bool{}
	add := func(name string) {
		if strings.HasPrefix(name, prefix) {
			found[name] = true
		}
	}
	for _, b := range []string{"alias", "bg", "break", "cd", "command", "continue", "eval", "exec", "exit", "export", "fg", "jobs",
		"kill", "read", "return", "set", "shift", "source", "trap", "type", "umask", "unset", "wait"} {
		add(b)
	}
	for name := range sh.runner.Funcs {
		add(name)
	}
	search := sh.variable("PATH")
	if search == "" {
		search = defaultPath
	}
	for _, d := range strings.Split(search, ":") {
		entries, err := os.ReadDir(inDir(sh.runner.Dir, d))
		if err != nil {
			continue
		}
		for _, e := range entries {
			if strings.HasPrefix(e.Name(), prefix) && !found[e.Name()] && executable(filepath.Join(inDir(sh.runner.Dir, d), e.Name())) == nil {
				add(e.Name())
			}
		}
	}
	return endings(found)
}

func (sh *shell) fileNames(word string) []string {
	dir, prefix := filepath.Split(word)
	where := dir
	if rest, ok := strings.CutPrefix(dir, "~/"); ok {
		where = filepath.Join(sh.variable("HOME"), rest)
	}
	entries, err := os.ReadDir(inDir(sh.runner.Dir, where))
	if err != nil {
		return nil
	}
	found := map[string]bool{}
	for _, e := range entries {
		name := e.Name()
		if !strings.HasPrefix(name, prefix) || prefix == "" && strings.HasPrefix(name, ".") {
			continue
		}
		full := escape(dir + name)
		if info, err := os.Stat(filepath.Join(inDir(sh.runner.Dir, where), name)); err == nil && info.IsDir() {
			full += "/"
		}
		found[full] = true
	}
	return endings(found)
}

// endings sorts the names; the only one gets a space, unless a directory's goes on.
func endings(found map[string]bool) []string {
	var names []string
	for name := range found {
		names = append(names, name)
	}
	sort.Strings(names)
	if len(names) == 1 && !strings.HasSuffix(names[0], "/") {
		names[0] += " "
	}
	return names
}

func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

func escape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if strings.IndexByte(separators+`\$*?[]#!`, s[i]) >= 0 {
			b.WriteByte('\\')
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
