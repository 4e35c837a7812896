-- Sixteen requests a write: hits with names that are always others, bodies, and misses.
local count = 0

function request()
    local all = {}
    for i = 1, 16 do
        count = count + 1
        if i % 8 == 0 then
            all[i] = wrk.format("GET", "/nothing/" .. count)
        elseif i % 4 == 0 then
            all[i] = wrk.format("POST", "/echo", { ["Content-Length"] = "16" }, "0123456789abcdef")
        else
            all[i] = wrk.format("GET", "/user/" .. count)
        end
    end
    return table.concat(all)
end
