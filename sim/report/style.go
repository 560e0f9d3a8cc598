package report

import _ "embed" // the look

// style is the page's look. Every colour is a variable with a light and a dark value.
//
//go:embed style.css
var style string
