module github.com/gin-ratelimiter/ratelimiter/cmd/ratelimiter

go 1.26.0

// The library beside this module, until it has a version of its own to require.
// `go install ...@version` refuses a module that replaces anything, so this line
// goes when the first version is tagged.
replace github.com/gin-ratelimiter/ratelimiter => ../../

require github.com/gin-ratelimiter/ratelimiter v0.0.0

require (
	github.com/buger/jsonparser v1.6.1 // indirect
	github.com/inconshreveable/mousetrap v1.1.0 // indirect
	github.com/klauspost/compress v1.20.3 // indirect
	github.com/mitchellh/colorstring v0.0.0-20190213212951-d06e56a500db // indirect
	github.com/rivo/uniseg v0.4.7 // indirect
	github.com/schollz/progressbar/v3 v3.19.1 // indirect
	github.com/spf13/cobra v1.10.2 // indirect
	github.com/spf13/pflag v1.0.9 // indirect
	github.com/stretchr/testify v1.12.1 // indirect
	golang.org/x/sys v0.48.0 // indirect
	golang.org/x/term v0.44.0 // indirect
	pgregory.net/rapid v1.3.0 // indirect
)
