module github.com/gocarrier/carrier/ci/chat

go 1.26.0
