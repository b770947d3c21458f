// Package words is a stand-in for a module whose path has upper-case letters.
package words

import "strings"

// Of parts a text at its spaces.
func Of(text string) []string { return strings.Fields(text) }
