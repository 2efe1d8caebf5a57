module github.com/gocarrier/carrier/recording

go 1.26.0
