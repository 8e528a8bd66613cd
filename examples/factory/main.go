// Factory declares the rate limiter in one package, uses it for routes in a second file, and
// configures it in the constructor of the application.
package main

import (
	"cmp"
	"fmt"
	"log"
	"os"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/gin-ratelimiter/ratelimiter/examples/factory/extensions"
)

// newEngine is the constructor of the application. With a nil configuration, a second engine
// joins the first and shares its counters.
func newEngine(config ratelimiter.Config) (*gin.Engine, error) {
	engine := gin.New()
	if err := extensions.Limiter.InitApp(engine, config); err != nil {
		return nil, err
	}
	addRoutes(engine)
	return engine, nil
}

func main() {
	gin.SetMode(gin.ReleaseMode)
	config, err := ratelimiter.ConfigFromEnv()
	if err != nil {
		log.Fatal(err)
	}
	engine, err := newEngine(config)
	if err != nil {
		log.Fatal(err)
	}
	address := "127.0.0.1:" + cmp.Or(os.Getenv("PORT"), "8080")
	fmt.Printf("Five logins an hour for each client, the sixth is rejected:\n\n"+
		"    for i in 1 2 3 4 5 6; do curl -s -X POST http://%s/login; echo; done\n\n", address)
	log.Fatal(engine.Run(address))
}
