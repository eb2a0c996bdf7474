"""Events for other systems to follow, in an order without gaps. It knows no context and changes nothing for anybody."""
