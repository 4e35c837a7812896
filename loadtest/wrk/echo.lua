-- POST a body of 1 KiB, or of as many bytes as the argument says: wrk -s echo.lua URL -- 16384
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/octet-stream"

function init(args)
    wrk.body = string.rep("x", tonumber(args[1]) or 1024)
end
