-- The server's time, and what the guard says.
return answer(whole(server_ms))
