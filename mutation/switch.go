package main

import _ "embed"

// mutantSwitch is added to the changed package. The name of each declaration begins with
// mutant.
//
//go:embed switch.txt
var mutantSwitch string
